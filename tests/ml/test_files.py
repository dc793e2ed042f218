"""Bounded reads: only a regular file of the expected size and content is read."""

import errno
import os
from pathlib import Path

import pytest

from gregory.ml.errors import DamagedFile
from gregory.ml.files import checksum, read_end, read_json, read_text
from tests import damage


@pytest.mark.parametrize("kind", ["not UTF-8", "a sparse file of 4 GiB", "a pipe", "a link to a device", "a folder"])
def test_other_objects_are_no_text(tmp_path: Path, kind: str):
    damage.replace(tmp_path / "x", kind)

    with pytest.raises(DamagedFile, match=r"/x: "):
        read_text(tmp_path / "x")


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', '{"a": "\\u0000"}', "9" * 5000])
def test_a_value_that_a_database_refuses_is_no_json(tmp_path: Path, text: str):
    (tmp_path / "x").write_text(text)

    with pytest.raises(DamagedFile, match=r"/x: (not valid JSON|contains NUL)"):
        read_json(tmp_path / "x")


def test_a_regular_file_is_read(tmp_path: Path):
    (tmp_path / "x").write_text('{"a": "過敏"}')

    assert read_json(tmp_path / "x") == {"a": "過敏"}
    assert checksum(tmp_path / "x")[1] == 15
    assert read_end(tmp_path / "x", size=5) == '敏"}'.encode()


def test_a_missing_file_and_a_volume_that_does_not_answer_are_different_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "x")

    def refuse(*arguments: object) -> int:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        read_text(tmp_path / "x")


@pytest.mark.parametrize("kind", damage.DAMAGES)
def test_the_end_of_a_log_is_bounded(tmp_path: Path, kind: str):
    damage.replace(tmp_path / "log", kind)

    assert len(read_end(tmp_path / "log", size=100)) <= 100
