"""The folder of the stages of one attempt, which begins with the finished work of the attempt before.

A process of the previous attempt may still live and write: its node was lost, and its container was not. So no file that is changed in
place is shared. Complete results, articles and checkpoints are only replaced as a whole, so they are linked where the file system has
links. All others are copied.
"""

import os
import shutil
from pathlib import Path

from gregory.ml.files import link_or_copy
from gregory.ml.run_folder import RunFolder

# Parts of a stage that the next attempt can use. The rest is that of an unfinished stage.
_IN, _OUT, _KEPT, _USAGE = "in", "out", "out.kept", "usage.json"
_CHECKPOINT, _ARTICLES, _UNFINISHED = ".npz", ".jsonl", ".partial"


def take_over(folder: RunFolder, attempt: int) -> Path:
    """The stages folder of this attempt. Raises OSError.

    If it is missing, it gets the work of the latest other attempt. The folders of all other attempts are removed.
    """
    mine = folder.stages(attempt)
    others = {number: path for number, path in folder.attempts().items() if number != attempt}
    if not mine.is_dir():
        unfinished = mine.with_name(f"{mine.name}{_UNFINISHED}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        if others:
            for stage in _folders(others[max(others)]):
                _take_stage(stage, unfinished / stage.name)
        unfinished.rename(mine)
    for other in others.values():
        shutil.rmtree(other, ignore_errors=True)
    return mine


def remove_all(folder: RunFolder) -> None:
    """Remove the stages folders of all attempts."""
    for stages in folder.path.glob("stages*"):
        shutil.rmtree(stages, ignore_errors=True)


def _take_stage(stage: Path, target: Path) -> None:
    """Take the finished parts of one stage. A part that its old process removes meanwhile is left out."""
    for part in (_IN, _OUT, _KEPT):
        try:
            _take_folder(stage / part, target / part, complete=part == _OUT)
        except FileNotFoundError:
            shutil.rmtree(target / part, ignore_errors=True)
    try:
        _take_file(stage / _USAGE, target / _USAGE, linked=False)
    except FileNotFoundError:
        return


def _take_folder(source: Path, target: Path, *, complete: bool) -> None:
    target.mkdir(parents=True)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _take_folder(source / entry.name, target / entry.name, complete=complete)
            elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(_UNFINISHED):
                replaced = entry.name.endswith(_CHECKPOINT) or (source.name == _IN and entry.name.endswith(_ARTICLES))
                _take_file(source / entry.name, target / entry.name, linked=complete or replaced)


def _take_file(source: Path, target: Path, *, linked: bool) -> None:
    if linked:
        link_or_copy(source, target)
    else:
        shutil.copyfile(source, target, follow_symlinks=False)


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
