"""Remove old versions of an algorithm. A folder first gets a hidden name, so no reader takes a half folder for a model.

`pruned.json` beside the versions names the removed ones with the digests of their manifests. It is written before a folder goes, so
`verify_models` can always tell a pruned model from a lost one.
"""

import secrets
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError, DamagedFile
from gregory.ml.files import flush, read_text, replace_text
from gregory.ml.promoting import locked
from gregory.ml.promotion import VersionAction, chosen_version, complete_versions, read_promotion

PRUNED = "pruned.json"
_REMOVED = ".pruned-"


class Pruned(VersionAction):
    """A removed version. digest: sha256 of its manifest, empty if it could not be read."""

    digest: str


class PrunedVersions(BaseModel):
    """The content of pruned.json, oldest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: tuple[Pruned, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The versions to remove, oldest first, and those that stay with the reason."""

    remove: tuple[str, ...]
    stay: dict[str, str]


def planned(folder: Path, *, keep: int, with_previous: bool = False) -> Plan:
    """The versions that a pruning to `keep` versions removes.

    with_previous: also the version to which a rollback would go. Raises ArtifactError if the promotion is damaged or its version is gone,
    because then it is not known which version must stay. Raises OSError.
    """
    known = complete_versions(folder)
    used = chosen_version(folder.parent, folder.name)
    promotion = read_promotion(folder)
    stay = dict.fromkeys(known[-keep:], "among the newest")
    if promotion and promotion.previous in known and not with_previous:
        stay[promotion.previous] = "a rollback goes to it"
    if used:
        stay[used.name] = "promoted" if used.promoted else "the newest"
    return Plan(remove=tuple(name for name in known if name not in stay), stay=stay)


def prune(folder: Path, versions: Collection[str], *, keep: int, with_previous: bool, at: datetime, by: str) -> list[str]:
    """Remove these versions and return their names. A version that must stay by now is left. Raises ArtifactError and OSError."""
    with locked(folder):
        _remove_rest(folder)
        allowed = planned(folder, keep=keep, with_previous=with_previous).remove
        names = [name for name in allowed if name in versions]
        for name in names:
            entry = Pruned(version=name, digest=_digest(folder / name), at=at, by=by)
            record = PrunedVersions(versions=(*read_pruned(folder), entry))
            replace_text(folder / PRUNED, record.model_dump_json(indent=2) + "\n")
            (folder / name).rename(folder / f"{_REMOVED}{name}-{secrets.token_hex(4)}")
            flush(folder)
        _remove_rest(folder)
    return names


def read_pruned(folder: Path) -> tuple[Pruned, ...]:
    """The removed versions of an algorithm. Raises ArtifactError if the file is damaged, and OSError."""
    try:
        return PrunedVersions.model_validate_json(read_text(folder / PRUNED)).versions
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except ValidationError as error:
        raise ArtifactError(f"{folder / PRUNED} is damaged: {error.errors()[0]['msg']}; restore it, or move it away") from error


def size(folder: Path) -> int:
    """The bytes of the files of a version."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _digest(folder: Path) -> str:
    try:
        return artifacts.digest(folder)
    except DamagedFile:
        return ""


def _remove_rest(folder: Path) -> None:
    """Remove the folders with a hidden name, also those of a process that was killed. Raises OSError."""
    for removed in folder.glob(f"{_REMOVED}*"):
        shutil.rmtree(removed)
