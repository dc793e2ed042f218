"""The working folder of a run: a folder of stages per attempt, the outcome report, the fence and logs.

It is in the folder of its subject. So a run needs that one folder only, and publishing is one rename within it.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gregory.ml import models_folder
from gregory.ml.absence import is_folder
from gregory.ml.artifacts import RUNS_FOLDER, subject_folder, subject_folders
from gregory.ml.files import group_write

_STAGES = re.compile(r"stages(?:-([0-9]{1,9}))?")
# The folder of a subject belongs to its runs. A link there could lead to another subject.
_NO_LINK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The working folder of one run."""

    models_dir: Path
    team: str
    subject: str
    run_id: str

    @property
    def path(self) -> Path:
        """The folder of everything that a run leaves until it has succeeded."""
        return subject_folder(self.models_dir, team=self.team, subject=self.subject) / RUNS_FOLDER / self.run_id

    @property
    def _of_older_release(self) -> Path:
        return self.models_dir / RUNS_FOLDER / self.run_id

    @property
    def outcome_file(self) -> Path:
        """The outcome report of the run, beside its stages. A reconciler reads it if the run could not close its rows."""
        return self.path / "outcome.json"

    @property
    def fence_file(self) -> Path:
        """The file that names the start of the run that may publish."""
        return self.path / "fence"

    def stages(self, attempt: int = 1) -> Path:
        """The folder of the stages of one attempt: `stages`, `stages-2`, `stages-3` ... Older releases use `stages` for every attempt."""
        return self.path / ("stages" if attempt == 1 else f"stages-{attempt}")

    def make(self) -> None:
        """Make the folder. Raises OSError.

        The folder of a run of an older release gets this place. A process of that release then finds no fence, and publishes nothing.
        """
        subject = self.path.parents[1]
        new = [folder for folder in (subject.parent, subject) if not folder.exists()]
        models_folder.make_below(self.models_dir, self.path.parent)
        for folder in new:
            # Other programs read the models in it, whatever the umask of this process is.
            with suppress(PermissionError):
                folder.chmod(0o755 | group_write(self.models_dir))
        if self.path.is_dir():
            return
        try:
            self._of_older_release.rename(self.path)
        except FileNotFoundError:
            self.path.mkdir(exist_ok=True)
        except OSError:
            # Another process of the run may have made it meanwhile.
            if not self.path.is_dir():
                raise

    def group_write(self) -> int:
        """The bit of the mode with which the group may write into the models folder, or into that of the subject. A pod sees the latter."""
        return group_write(self.models_dir) | group_write(self.path.parents[1])

    def left_outcome(self) -> Path:
        """The outcome file of the latest attempt, of this release or of an older one. Raises OSError as `found`."""
        return self.found() / self.outcome_file.name

    def found(self) -> Path:
        """The folder, where this release or an older one made it. Its place if there is none. Raises OSError as `Path.stat`."""
        return self._of_older_release if not is_folder(self.path) and is_folder(self._of_older_release) else self.path

    def exists(self) -> bool:
        """Whether there is such a folder. Raises OSError if the volume does not tell."""
        return is_folder(self.found())

    def attempts(self) -> dict[int, Path]:
        """The existing folders of stages by attempt. Raises OSError if the volume does not answer."""
        try:
            with os.scandir(self.found()) as entries:
                names = {entry.name: Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        found = ((_STAGES.fullmatch(name), path) for name, path in names.items())
        return {int(match[1] or 1): path for match, path in found if match}

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        for folder in (self.path, self._of_older_release):
            shutil.rmtree(folder, ignore_errors=True)


def places(models_dir: Path) -> list[Path]:
    """The folders that can contain working folders: that of older releases and that of each subject. Raises OSError."""
    subjects = subject_folders(models_dir, on_error=lambda error: None)
    return [folder / RUNS_FOLDER for folder in (models_dir, *subjects)]


def working_folders(place: Path) -> list[tuple[str, float]]:
    """The names of the working folders in one of the `places`, in order, each with the time of its last change. Raises OSError."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), _opened(place) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_mtime))
    return sorted(found)


def remove(place: Path, name: str) -> None:
    """Remove a working folder in one of the `places`. Raises OSError, also if a run has put a link in that place."""
    with _opened(place) as descriptor:
        shutil.rmtree(name, dir_fd=descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, _NO_LINK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
