"""The version of an algorithm that a prediction uses: the promoted one, else the newest.

`promoted.json` beside the versions of an algorithm names the promoted one and keeps the earlier ones. It is replaced as a whole, so a
reader finds the old state or the new one. `gregory.ml.promoting` changes it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from gregory.ml import artifacts, versions
from gregory.ml.errors import ArtifactError
from gregory.ml.files import is_of_volume, read_text

PROMOTED = "promoted.json"


class VersionAction(BaseModel):
    """What somebody did to a version. by: user and host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    at: AwareDatetime
    by: str


class Selection(VersionAction):
    """One selection of the promoted version. A rollback goes to the version that was promoted before."""

    reason: str = ""
    action: Literal["promote", "rollback"] = "promote"


class Promotion(Selection):
    """The content of promoted.json: the last selection, and the earlier ones from the oldest on."""

    history: tuple[Selection, ...] = ()

    @property
    def selections(self) -> tuple[Selection, ...]:
        """All selections, from the oldest to this one."""
        return (*self.history, Selection(**{name: getattr(self, name) for name in Selection.model_fields}))

    @property
    def previous(self) -> str | None:
        """The version to which a rollback goes. None if no other was promoted before."""
        stack: list[str] = []
        for change in self.selections:
            if change.action == "rollback":
                del stack[-2:]
            stack.append(change.version)
        return stack[-2] if len(stack) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version with its folder. promoted: an operator selected it."""

    name: str
    folder: Path
    promoted: bool


def chosen_version(subject_dir: Path, algorithm: str, *, named: str | None = None) -> Version | None:
    """The named version, else the promoted one, else the newest. None if there is none.

    Raises ArtifactError if the promotion is damaged, or if its version is gone. Raises OSError.
    """
    folder = subject_dir / algorithm
    known = complete_versions(folder)
    promotion = read_promotion(folder)
    promoted = promotion.version if promotion else None
    if named is None and promoted is not None and promoted not in known:
        raise ArtifactError(
            f"{folder}: version {promoted} is promoted and has no folder; restore it, promote another, or delete {folder / PROMOTED}"
        )
    name = named or promoted or max(known, key=versions.age_key, default=None)
    if name not in known:
        return None
    return Version(name=name, folder=folder / name, promoted=name == promoted)


def complete_versions(folder: Path) -> list[str]:
    """The names of an algorithm's versions, oldest first. A folder without a manifest is not of this project. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and not is_of_volume(entry.name)]
    except FileNotFoundError:
        return []
    return sorted((name for name in names if (folder / name / artifacts.MANIFEST).is_file()), key=versions.age_key)


def read_promotion(folder: Path) -> Promotion | None:
    """The promotion of an algorithm. None without one. Raises ArtifactError if its file is damaged, and OSError."""
    try:
        return Promotion.model_validate_json(read_text(folder / PROMOTED))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ArtifactError(f"{folder / PROMOTED} is damaged: {error.errors()[0]['msg']}; promote a version again") from error
