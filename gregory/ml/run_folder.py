"""The working folder of a run: a folder of stages per attempt, and the fence."""

import os
import re
from pathlib import Path

from gregory.ml.artifacts import working_folder

_STAGES = re.compile(r"stages(?:-([0-9]{1,9}))?")


def attempt_folders(models_dir: Path, run_id: str) -> dict[int, Path]:
    """The existing folders of stages by attempt. Raises OSError if the volume does not answer."""
    try:
        with os.scandir(working_folder(models_dir, run_id)) as entries:
            names = {entry.name: Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    found = ((_STAGES.fullmatch(name), path) for name, path in names.items())
    return {int(match[1] or 1): path for match, path in found if match}


def fence_file(models_dir: Path, run_id: str) -> Path:
    """The file that names the start of the run that may publish."""
    return working_folder(models_dir, run_id) / "fence"
