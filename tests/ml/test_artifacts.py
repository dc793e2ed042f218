"""Version folders: complete or absent, and verified byte by byte."""

import json
from pathlib import Path

import numpy as np
import pytest

from gregory.ml import artifacts, load
from gregory.ml.errors import ArtifactError
from gregory.ml.text import TEXT_VERSION
from tests.published import manifest


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    folder = tmp_path / ".runs" / "staged"
    (folder / "encoder").mkdir(parents=True)
    (folder / "weights.h5").write_bytes(b"weights")
    (folder / "encoder" / "vocab.txt").write_text("words")
    artifacts.write_manifest(folder, manifest())
    return folder


@pytest.fixture
def published(tmp_path: Path, complete: Path) -> Path:
    destination = tmp_path / "team" / "subject" / "lgbm_tfidf" / "20260101"
    artifacts.publish(complete, destination)
    return destination


def test_publishing_moves_a_complete_folder(published: Path, complete: Path):
    assert artifacts.verify(published) == []
    assert not complete.exists()
    assert artifacts.read_manifest(published).files.keys() == {"weights.h5", "encoder/vocab.txt"}


def test_an_existing_version_is_never_overwritten(published: Path, tmp_path: Path):
    again = tmp_path / ".runs" / "again"
    again.mkdir()
    artifacts.write_manifest(again, manifest())

    with pytest.raises(ArtifactError, match=r"20260101 already exists; versions are never overwritten"):
        artifacts.publish(again, published)

    assert (published / "weights.h5").read_bytes() == b"weights"


def test_a_folder_without_its_manifest_is_not_published(tmp_path: Path):
    (tmp_path / "staged").mkdir()

    with pytest.raises(ArtifactError, match=r"refusing to publish staged: .*no manifest.json: not a complete model"):
        artifacts.publish(tmp_path / "staged", tmp_path / "version")

    assert not (tmp_path / "version").exists()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "weights.h5").write_bytes(b"other"), "weights.h5: changed since training (sha256 differs)"),
        (lambda folder: (folder / "encoder" / "vocab.txt").unlink(), "encoder/vocab.txt: missing"),
        (lambda folder: (folder / "extra").touch(), "extra: not in the manifest"),
        (lambda folder: (folder / "manifest.json").unlink(), ": no manifest.json: not a complete model"),
        (lambda folder: (folder / "manifest.json").write_text("{"), ": manifest.json is damaged: Invalid JSON"),
    ],
)
def test_every_damage_is_named(published: Path, damage, problem: str):
    damage(published)

    (found,) = artifacts.verify(published)

    assert found.startswith(f"{published}")
    assert problem in found


def test_the_manifest_is_compared_and_used_as_the_same_bytes(published: Path, monkeypatch: pytest.MonkeyPatch):
    """Another process replaces the manifest between two reads."""
    forged = published / "manifest.json"
    recorded, read = artifacts.digest(published), artifacts.read_text
    genuine = forged.read_bytes()
    forged.write_bytes(genuine + b"\n")

    def replaced_after_the_read(path: Path) -> str:
        text = read(path)
        forged.write_bytes(genuine)
        return text

    monkeypatch.setattr(artifacts, "read_text", replaced_after_the_read)
    (found,) = artifacts.verify(published, recorded=recorded)

    assert found == f"{published}: its manifest was replaced since training (row 1 has another sha256 of it)"


@pytest.mark.parametrize("name", ["weights.h5", "encoder/vocab.txt", "manifest.json"])
def test_the_copy_has_the_compared_bytes(published: Path, tmp_path: Path, name: str):
    (tmp_path / "copy").mkdir()

    assert artifacts.verify(published, copy=tmp_path / "copy") == []

    assert (tmp_path / "copy" / name).read_bytes() == (published / name).read_bytes()


def test_a_copy_under_another_name_is_not_that_version(published: Path):
    moved = published.rename(published.with_name("20260102"))

    assert artifacts.verify(moved) == []
    assert artifacts.misplaced(moved) == [f"{moved}: holds team/subject/lgbm_tfidf/20260101; it was moved or copied here"]


def test_version_folders_are_found_and_working_folders_are_not(published: Path, tmp_path: Path):
    (tmp_path / "team" / "subject" / "pseudo_labels" / "x").mkdir(parents=True)
    (tmp_path / ".runs" / "a" / "lgbm_tfidf" / "b").mkdir(parents=True)

    assert list(artifacts.version_folders(tmp_path)) == [published]


@pytest.mark.parametrize(("slug", "usable"), [("ms", True), ("過敏", True), ("", False), (".", False), ("..", False), (".x", False)])
def test_slugs_that_cannot_be_folders(slug: str, usable: bool):
    assert artifacts.is_folder_name(slug) is usable


@pytest.mark.parametrize("slug", ["a/b", "a\\b", "a\0b", "ü" * 128])
def test_slugs_with_separators_or_too_many_bytes_cannot_be_folders(slug: str):
    assert not artifacts.is_folder_name(slug)


class Answers:
    """A model that gives the same probabilities for all texts."""

    probabilities = (0.25, 0.75)

    @classmethod
    def load(cls, folder: Path, *, threads: int) -> "Answers":
        return cls()

    def predict_proba(self, texts):
        return np.array(self.probabilities)


@pytest.fixture
def fake_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        model_class = Answers

    monkeypatch.setattr(load, "trainer_class", lambda algorithm: Fake)


@pytest.mark.usefixtures("fake_trainer")
def test_a_model_with_the_same_probabilities_is_loaded(published: Path):
    assert isinstance(load.load_model(published), Answers)


@pytest.mark.usefixtures("fake_trainer")
@pytest.mark.parametrize("moved", [(0.25, 0.76), (0.25, float("nan"))])
def test_a_model_with_other_probabilities_is_refused(published: Path, monkeypatch: pytest.MonkeyPatch, moved):
    monkeypatch.setattr(Answers, "probabilities", moved)

    with pytest.raises(ArtifactError, match="the model gives its probe texts other probabilities than after training"):
        load.load_model(published)


@pytest.mark.usefixtures("fake_trainer")
def test_a_changed_file_is_refused_before_the_model_is_loaded(published: Path):
    (published / "weights.h5").write_bytes(b"other")

    with pytest.raises(ArtifactError, match="changed since training"):
        load.load_model(published)


@pytest.mark.usefixtures("fake_trainer")
def test_a_file_that_changes_after_the_comparison_has_no_effect(published: Path, monkeypatch: pytest.MonkeyPatch):
    """Another process replaces every file after the comparison, and before the model reads the first one."""
    loaded: list[bytes] = []

    def read(folder: Path, *, threads: int) -> Answers:
        for path in published.rglob("*.*"):
            path.write_bytes(b"other")
        loaded.append((folder / "weights.h5").read_bytes())
        return Answers()

    monkeypatch.setattr(Answers, "load", read)

    load.load_model(published)

    assert loaded == [b"weights"]


@pytest.mark.usefixtures("fake_trainer")
def test_an_error_names_the_version_folder_and_no_copy_remains(published: Path, monkeypatch: pytest.MonkeyPatch):
    copies: list[Path] = []

    def refuse(folder: Path, *, threads: int) -> Answers:
        copies.append(folder)
        raise ArtifactError(f"{folder / 'weights.h5'} is strange")

    monkeypatch.setattr(Answers, "load", refuse)

    with pytest.raises(ArtifactError) as caught:
        load.load_model(published)

    assert str(caught.value) == f"{published / 'weights.h5'} is strange"
    assert not copies[0].exists()


@pytest.mark.usefixtures("fake_trainer")
def test_a_model_of_an_unknown_text_version_is_refused(published: Path):
    state_version(published, 3)

    with pytest.raises(ArtifactError) as caught:
        load.load_model(published)

    assert str(caught.value) == (
        f"{published}: the model has text version 3, and not 1 or 2: "
        "train the subject again, or load the model with the release that trained it"
    )


@pytest.mark.usefixtures("fake_trainer")
def test_a_model_without_a_text_version_has_version_1_and_can_be_loaded(published: Path):
    state_version(published, None)

    assert artifacts.read_manifest(published).data.text_version == 1
    assert isinstance(load.load_model(published), Answers)


def state_version(folder: Path, version: int | None) -> None:
    """Change the text version of a manifest, or remove it."""
    content = json.loads((folder / "manifest.json").read_text())
    assert content["data"].pop("text_version") == TEXT_VERSION
    content["data"] |= {} if version is None else {"text_version": version}
    (folder / "manifest.json").write_text(json.dumps(content))
