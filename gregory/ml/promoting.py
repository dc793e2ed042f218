"""Change the promoted version of an algorithm. One process at a time changes the files beside the versions.

The caller gives the state that it has seen. If another process has changed it meanwhile, nothing is written: no change is lost
silently. A volume without locks has only this comparison.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError
from gregory.ml.files import replace_text, wait_for_lock
from gregory.ml.promotion import PROMOTED, Promotion, Selection, complete_versions, read_promotion
from gregory.ml.text import require_version

MOST_CHANGES = 200
LOCK_SECONDS = 30.0
_LOCK = ".promotion.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process that changes the versions of an algorithm. Unfinished files of killed processes are removed.

    Raises ArtifactError if another process keeps the lock, and OSError.
    """
    # Another user must be able to lock the file too. A foreign process may have put a link or a pipe there.
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        with suppress(OSError):
            os.fchmod(descriptor, 0o666)
        taken = wait_for_lock(descriptor, seconds=LOCK_SECONDS)
        if taken is False:
            raise ArtifactError(f"{folder}: another process has changed the versions for {LOCK_SECONDS:g} s; repeat the command later")
        if taken:
            for unfinished in folder.glob(".*.json.*"):
                unfinished.unlink(missing_ok=True)
        yield
    finally:
        os.close(descriptor)


def defects(folder: Path, version: str) -> list[str]:
    """The reasons why a version cannot be promoted, one sentence each. Reads every byte. Raises OSError."""
    known = complete_versions(folder)
    if version not in known:
        return [f"{folder}: there is no version {version}; the versions: {', '.join(known) or 'none'}"]
    found = artifacts.verify(folder / version)
    if found:
        return found
    manifest = artifacts.read_manifest(folder / version)
    if (manifest.algorithm, manifest.provenance.version) != (folder.name, version):
        return [artifacts.not_its_place(folder / version, manifest)]
    try:
        require_version(manifest.data.text_version, subject=f"{folder / version}: the model", remedy="train the subject again")
    except ArtifactError as error:
        return [str(error)]
    return []


def promote(folder: Path, version: str, *, seen: Promotion | None, at: datetime, by: str, reason: str) -> Promotion:
    """Promote a version, unless it is already promoted. seen: the promotion of which the caller knows. Raises ArtifactError and OSError.

    A damaged promoted.json counts as none, so a promotion is the remedy.
    """
    with locked(folder):
        _require_seen(folder, present(folder), seen)
        if seen and seen.version == version and version in complete_versions(folder):
            return seen
        return _write(folder, version, "promote", seen, at=at, by=by, reason=reason)


def roll_back(folder: Path, *, seen: Promotion, at: datetime, by: str, reason: str) -> Promotion:
    """Promote the version again that was promoted before the present one. Raises ArtifactError and OSError."""
    with locked(folder):
        _require_seen(folder, read_promotion(folder), seen)
        if seen.previous is None:
            raise ArtifactError(f"{folder}: no other version was promoted before {seen.version}; promote one by its name")
        return _write(folder, seen.previous, "rollback", seen, at=at, by=by, reason=reason)


def present(folder: Path) -> Promotion | None:
    """The present promotion. None without one, and if its file is damaged, because a promotion replaces it. Raises OSError."""
    with suppress(ArtifactError):
        return read_promotion(folder)
    return None


def _require_seen(folder: Path, present: Promotion | None, seen: Promotion | None) -> None:
    if present == seen:
        return
    by = f"{present.by} promoted version {present.version}" if present else "another process removed the promotion"
    raise ArtifactError(f"{folder}: meanwhile {by}; nothing was changed: look at it with `models list`, and repeat the command")


def _write(
    folder: Path, version: str, action: Literal["promote", "rollback"], seen: Promotion | None, *, at: datetime, by: str, reason: str
) -> Promotion:
    if version not in (known := complete_versions(folder)):
        remedy = f"promote another one: {', '.join(known)}" if known else "train the subject"
        raise ArtifactError(f"{folder}: version {version} has no folder; {remedy}")
    history: tuple[Selection, ...] = seen.selections[-MOST_CHANGES:] if seen else ()
    promotion = Promotion(version=version, at=at, by=by, reason=reason, action=action, history=history)
    replace_text(folder / PROMOTED, promotion.model_dump_json(indent=2) + "\n")
    return promotion
