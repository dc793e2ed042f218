"""Bounded reads: only a regular file of the expected size and content is read."""

import errno
import os
from pathlib import Path

import pytest

from gregory.ml import files
from gregory.ml.errors import DamagedFile
from gregory.ml.files import checksum, flush, link_or_copy, read_end, read_json, read_text, symlink_or_copy, try_lock
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


def test_a_second_name_is_a_link_on_one_file_system_and_a_copy_on_another(tmp_path: Path, other_file_system: Path):
    source = tmp_path / "x"
    source.write_text("text")
    os.utime(source, (1, 2))

    assert link_or_copy(source, tmp_path / "y")
    assert not link_or_copy(source, other_file_system / "y")

    assert (tmp_path / "y").samefile(source)
    copy = other_file_system / "y"
    assert (copy.read_text(), copy.stat().st_mtime) == ("text", 2)
    for taken in (tmp_path / "y", copy):
        with pytest.raises(FileExistsError):
            link_or_copy(tmp_path / "x", taken)
    assert [path.name for path in other_file_system.iterdir()] == ["y"]


def test_an_interrupted_copy_has_no_name(tmp_path: Path, other_file_system: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "x").write_text("text")

    def full(source: Path, target: Path, **options: bool) -> None:
        target.write_text("te")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.shutil, "copyfile", full)

    with pytest.raises(OSError, match="No space left on device"):
        link_or_copy(tmp_path / "x", other_file_system / "x")
    assert list(other_file_system.iterdir()) == []


def test_a_missing_source_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "x", tmp_path / "y")
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_leads_to_the_file_itself(tmp_path: Path):
    (tmp_path / "x").write_text("text")
    (tmp_path / "link").symlink_to("x")

    symlink_or_copy(tmp_path / "link", tmp_path / "y")

    assert (tmp_path / "y").readlink() == tmp_path / "x"


def test_a_folder_without_a_flush_is_no_error(tmp_path: Path):
    # The kernel's own file system has none.
    assert not flush(Path("/proc"))
    assert flush(tmp_path)


def test_a_lock_belongs_to_one_open_file(tmp_path: Path):
    with (tmp_path / "x").open("w") as first, (tmp_path / "x").open("w") as second:
        assert (try_lock(first.fileno()), try_lock(second.fileno())) == (True, False)
