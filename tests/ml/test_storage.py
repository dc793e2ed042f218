"""A publication is tried on real file systems: permissions, other mounts, full and read-only volumes, exFAT."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gregory.ml import artifacts, storage
from gregory.ml.pseudo_label_file import keep_pseudo_labels
from gregory.ml.storage import Features
from tests.file_systems import bound, exfat, ext4, fill, remount, tmpfs
from tests.published import manifest

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


@pytest.mark.parametrize("below", ["", "team", "team/subject", "team/subject/lstm"])
def test_the_nearest_folder_must_be_writable(models: Path, without_privileges: None, below: str):
    (models / below).mkdir(exist_ok=True)
    destination = models / "team" / "subject" / "lstm" if below.startswith("team/subject") else models / below / "other" / "lstm"
    assert storage.obstacle(models, destination) == ""

    (models / below).chmod(0o555)

    assert storage.obstacle(models, destination) == (
        f"the {'folder' if below else 'models folder'} {models / below} cannot take a model: Permission denied; "
        "correct its owner or its permissions"
    )


def test_a_file_in_the_place_of_a_folder_is_named(models: Path):
    (models / "team" / "subject" / "lstm").write_text("")

    assert storage.obstacle(models, models / "team" / "subject" / "lstm") == (
        f"{models / 'team' / 'subject' / 'lstm'} is not a folder; move it away"
    )


def place(models: Path) -> Path:
    return models / "team" / "subject" / "lstm"


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def on_another_file_system(folder: Path) -> str:
    return (
        f"the folder {folder} cannot take a model: Invalid cross-device link; a model is renamed into it, which is impossible between two "
        "mounts: keep the folder of a subject on one mount, without links to others"
    )


def test_an_algorithm_that_is_a_link_to_another_file_system_is_found(models: Path, other_file_system: Path):
    place(models).symlink_to(other_file_system)

    assert storage.obstacle(models, place(models)) == on_another_file_system(place(models))
    assert storage.obstacle(models, models / "team" / "subject" / "lgbm_tfidf") == ""
    assert everything(other_file_system) == []


def test_a_subject_on_another_file_system_takes_models(models: Path, other_file_system: Path):
    """Its working folders are there too. In a pod the folder of the subject is a mount of its own."""
    (models / "team" / "linked").symlink_to(other_file_system)

    assert storage.obstacle(models, models / "team" / "linked" / "lstm") == ""
    assert everything(other_file_system) == []


def test_a_team_that_is_a_link_to_the_same_file_system_takes_models(models: Path):
    (models / "linked").symlink_to(models / "team")

    assert storage.obstacle(models, models / "linked" / "subject" / "lstm") == ""


def test_a_trial_leaves_nothing_and_its_folders_are_no_versions(models: Path, monkeypatch: pytest.MonkeyPatch):
    place(models).mkdir()
    before = everything(models)

    assert storage.obstacle(models, place(models)) == ""
    assert everything(models) == before
    # A trial that was killed.
    monkeypatch.setattr(storage.shutil, "rmtree", lambda *args, **options: None)
    assert storage.obstacle(models, place(models)) == ""
    assert everything(models) != before
    assert list(artifacts.version_folders(models)) == []


@pytest.mark.root
def test_a_subfolder_that_is_mounted_a_second_time_is_found(models: Path, tmp_path: Path):
    """It is the same file system, and its device number is the same."""
    place(models).mkdir()
    with bound(tmp_path, place(models)):
        assert place(models).stat().st_dev == models.stat().st_dev
        assert storage.obstacle(models, place(models)) == on_another_file_system(place(models))
    assert storage.obstacle(models, place(models)) == ""


@pytest.mark.root
@pytest.mark.parametrize(
    ("spoil", "cause"),
    [(lambda folder: remount(folder, "ro"), "Read-only file system; mount it read-write"), (fill, "No space left on device; free space")],
)
def test_a_read_only_or_full_file_system_is_found(tmp_path: Path, spoil: Callable[[Path], None], cause: str):
    models = tmp_path / "models"
    models.mkdir()
    with ext4(models):
        assert storage.obstacle(models, place(models)) == ""
        spoil(models)
        assert storage.obstacle(models, place(models)) == f"the models folder {models} cannot take a model: {cause}"


@pytest.mark.root
@pytest.mark.parametrize(
    ("file_system", "features"),
    [
        (exfat, Features(links=False, locks=True, folder_flush=True)),
        (ext4, Features(links=True, locks=True, folder_flush=True)),
        (tmpfs, Features(links=True, locks=True, folder_flush=True)),
    ],
)
def test_models_are_published_on_every_file_system(
    tmp_path: Path, file_system: Callable[[Path], AbstractContextManager[None]], features: Features
):
    models = tmp_path / "models"
    models.mkdir()
    with file_system(models):
        before = everything(models)
        assert storage.obstacle(models, place(models)) == ""
        assert storage.features(models) == features
        assert everything(models) == before
        staged = models / ".runs" / "run" / "model"
        staged.mkdir(parents=True)
        (staged / "weights").write_bytes(b"weights")
        artifacts.write_manifest(staged, manifest(algorithm="lstm"))

        artifacts.publish(staged, place(models) / "20260101")

        assert list(artifacts.version_folders(models)) == [place(models) / "20260101"]
        assert artifacts.verify(place(models) / "20260101") == []


@pytest.mark.root
def test_pseudo_labels_are_stored_once_without_links(tmp_path: Path):
    models = tmp_path / "models"
    models.mkdir()
    with exfat(models):
        (models / "labels.csv").write_text("x")

        kept = [keep_pseudo_labels(models / "labels.csv", models, team="t", subject="s") for _ in range(2)]

        assert kept[0] == kept[1]
        assert [path.read_text() for path in kept[0].parent.iterdir()] == ["x"]
