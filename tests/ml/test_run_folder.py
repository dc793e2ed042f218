"""The place of a run's working folder, also of a run that an older release began."""

import os
from pathlib import Path

import pytest

from gregory.ml import run_folder
from gregory.ml.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(models_dir=tmp_path, team="team", subject="subject", run_id="r1")


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A working folder with finished work where older releases made it."""
    older = tmp_path / ".runs" / "r1"
    (older / "stages" / "summarise").mkdir(parents=True)
    (older / "fence").write_text("1 of the older release\n")
    return older


def test_it_is_in_the_folder_of_its_subject(folder: RunFolder, tmp_path: Path):
    folder.make()
    folder.make()

    assert (folder.path, folder.path.is_dir()) == (tmp_path / "team" / "subject" / ".runs" / "r1", True)


def test_other_programs_can_enter_the_folder_of_the_subject(folder: RunFolder, tmp_path: Path):
    before = os.umask(0o077)
    try:
        folder.make()
    finally:
        os.umask(before)

    assert [(tmp_path / place).stat().st_mode & 0o777 for place in ("team", "team/subject")] == [0o755, 0o755]


def test_the_folder_of_an_older_release_is_found_where_it_is(folder: RunFolder, older: Path):
    assert (folder.exists(), folder.found(), folder.attempts()) == (True, older, {1: older / "stages"})


def test_the_folder_of_an_older_release_gets_the_new_place_with_its_work(folder: RunFolder, older: Path):
    folder.make()

    assert (older.exists(), folder.found(), folder.attempts()) == (False, folder.path, {1: folder.path / "stages"})
    assert folder.fence_file.read_text() == "1 of the older release\n"


def test_what_a_process_of_an_older_release_writes_afterwards_is_left_alone(folder: RunFolder, older: Path):
    folder.make()
    older.mkdir()
    (older / "outcome.json").touch()

    folder.make()

    assert (folder.found(), list(folder.attempts())) == (folder.path, [1])


def test_a_missing_folder_is_none(folder: RunFolder):
    assert (folder.exists(), folder.attempts(), folder.found()) == (False, {}, folder.path)


def test_no_folder_of_another_subject_is_listed_or_removed_through_a_link(folder: RunFolder, tmp_path: Path):
    """A run can replace the folder between the list and the removal."""
    folder.make()
    version = tmp_path / "other" / "subject" / "lstm" / "20260101"
    version.mkdir(parents=True)
    place = folder.path.parent
    folder.path.rmdir()
    place.rmdir()
    place.symlink_to(version.parent)

    assert run_folder.working_folders(place) == []
    with pytest.raises(NotADirectoryError):
        run_folder.remove(place, version.name)
    assert version.is_dir()


def test_links_and_files_are_no_working_folders(folder: RunFolder, tmp_path: Path):
    folder.make()
    place = folder.path.parent
    (place / "link").symlink_to(tmp_path)
    (place / "file").touch()
    os.utime(folder.path, (5, 5))

    assert run_folder.working_folders(place) == [("r1", 5.0)]
    assert run_folder.places(tmp_path) == [tmp_path / ".runs", place]
