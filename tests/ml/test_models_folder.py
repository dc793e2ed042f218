"""The models folder as a place: it is not made, and a folder that cannot be written is named."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.ml import models_folder

NOBODY = 65_534


@pytest.fixture
def models() -> Iterator[Path]:
    """A models folder with one subject, which any user can enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "team" / "subject").mkdir(parents=True)
    yield folder
    # Without its permissions, an ordinary user cannot remove a folder.
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def without_privileges(models: Path) -> Iterator[None]:
    """For root, every folder is writable."""
    if os.geteuid() != 0:
        yield
        return
    for path in (models, *models.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def test_a_missing_models_folder_is_an_obstacle_and_is_not_made(tmp_path: Path):
    missing = tmp_path / "volume" / "models"

    problem = models_folder.obstacle(missing, missing / "team" / "subject" / "lstm")

    assert problem == f"the models folder {missing} does not exist; mount its volume, or make it once: mkdir -p {missing}"
    with pytest.raises(FileNotFoundError, match=f"No such file or directory: '{missing}'"):
        models_folder.make_below(missing, missing / ".runs" / "run")
    assert not missing.parent.exists()


def test_folders_below_are_made(models: Path):
    models_folder.make_below(models, models / ".runs" / "run")
    models_folder.make_below(models, models / ".runs" / "run")

    assert (models / ".runs" / "run").is_dir()


@pytest.mark.parametrize("below", ["", "team", "team/subject", "team/subject/lstm"])
def test_the_nearest_folder_must_be_writable(models: Path, without_privileges: None, below: str):
    (models / below).mkdir(exist_ok=True)
    destination = models / "team" / "subject" / "lstm" if below.startswith("team/subject") else models / below / "other" / "lstm"
    assert models_folder.obstacle(models, destination) == ""

    (models / below).chmod(0o555)

    assert models_folder.obstacle(models, destination) == (
        f"the folder {models / below} is not writable; correct its owner or its permissions"
    )


def test_a_file_in_the_place_of_a_folder_is_named(models: Path):
    (models / "team" / "subject" / "lstm").write_text("")

    assert models_folder.obstacle(models, models / "team" / "subject" / "lstm") == (
        f"{models / 'team' / 'subject' / 'lstm'} is not a folder; move it away"
    )
