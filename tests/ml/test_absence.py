"""A client of a network file system remembers that a name was missing. Then a reader asks the server again."""

import os
from pathlib import Path
from typing import Any

import pytest

from gregory.ml.absence import is_folder, retry_missing
from gregory.ml.files import read_text


class Client:
    """Behaves as the Linux client of NFS: it forgets the missing names of a folder as soon as the folder is opened."""

    def __init__(self, *missing: Path) -> None:
        self._missing = set(missing)
        self._open, self._stat = os.open, os.stat
        self.opened: list[Path] = []

    def open(self, path: Path, *arguments: Any, **options: Any) -> int:
        self._find(path)
        descriptor = self._open(path, *arguments, **options)
        self.opened.append(Path(path))
        self._missing -= {name for name in self._missing if name.parent == Path(path)}
        return descriptor

    def stat(self, path: Path, **options: Any) -> os.stat_result:
        self._find(path)
        return self._stat(path, **options)

    def _find(self, path: Path) -> None:
        if self._missing & {Path(path), *Path(path).parents}:
            raise FileNotFoundError(path)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "team" / "subject" / "lstm" / "v1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def remembering(monkeypatch: pytest.MonkeyPatch, *missing: Path) -> Client:
    client = Client(*missing)
    monkeypatch.setattr(os, "open", client.open)
    monkeypatch.setattr(os, "stat", client.stat)
    return client


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_remembered_absence_is_no_absence(version: Path, monkeypatch: pytest.MonkeyPatch, above: int):
    """Of the version, of the algorithm, or of the subject."""
    remembering(monkeypatch, (version, *version.parents)[above])
    assert read_text(version / "manifest.json") == "{}"

    remembering(monkeypatch, (version, *version.parents)[above])
    assert is_folder(version)


def test_a_missing_file_is_missing_after_one_question(version: Path, monkeypatch: pytest.MonkeyPatch):
    client = remembering(monkeypatch)

    with pytest.raises(FileNotFoundError):
        read_text(version / "evaluation.json")
    assert not is_folder(version / "manifest.json" / "below")

    assert client.opened == [version, version]


def test_a_folder_that_cannot_be_opened_hides_no_error(version: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path, *arguments: Any, **options: Any) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileNotFoundError):
        retry_missing(version / "x", (version / "x").read_bytes)
