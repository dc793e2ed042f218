"""The models folder as a place: it is not made."""

from pathlib import Path

import pytest

from gregory.ml import models_folder, storage


def test_a_missing_models_folder_is_an_obstacle_and_is_not_made(tmp_path: Path):
    missing = tmp_path / "volume" / "models"

    problem = storage.obstacle(missing, missing / "team" / "subject" / "lstm")

    assert problem == f"the models folder {missing} does not exist; mount its volume, or make it once: mkdir -p {missing}"
    with pytest.raises(FileNotFoundError, match=f"No such file or directory: '{missing}'"):
        models_folder.make_below(missing, missing / ".runs" / "run")
    assert not missing.parent.exists()


def test_folders_below_are_made(tmp_path: Path):
    models_folder.make_below(tmp_path, tmp_path / ".runs" / "run")
    models_folder.make_below(tmp_path, tmp_path / ".runs" / "run")

    assert (tmp_path / ".runs" / "run").is_dir()
