"""Reads of the models volume: three answers, and a limit for those that hang. The file server is a function of the test."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.runs import volume
from gregory.runs.volume import Volume, VolumeUnavailable


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    monkeypatch.setattr(volume, "_POLL_SECONDS", 0.01)
    return Volume(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The limit of silence is short until `undo`. A read that answers could exceed it on a busy machine."""
    with monkeypatch.context() as patch:
        patch.setattr(volume, "SILENCE_SECONDS", 0.3)
        yield patch


def test_a_folder_is_there_or_not_there_or_not_known(server: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()

    assert server.is_folder(tmp_path)
    assert not server.is_folder(tmp_path / "file")
    assert not server.is_folder(tmp_path / "missing")
    assert not server.is_folder(tmp_path / "file" / "below")

    for number in (errno.ENOTCONN, errno.EIO, errno.ESTALE, errno.EACCES):
        monkeypatch.setattr(Path, "stat", failing(OSError(number, "the server refuses")))
        with pytest.raises(VolumeUnavailable, match=rf"^the models volume cannot be used: \[Errno {number}\] the server refuses$"):
            server.is_folder(tmp_path)


def test_a_read_that_hangs_is_abandoned_and_no_other_begins_until_it_returns(server: Volume, impatient: pytest.MonkeyPatch, tmp_path: Path):
    answer, begun = threading.Event(), []

    with pytest.raises(VolumeUnavailable, match=f"^the models volume {tmp_path} does not answer$"):
        server.read(answer.wait)
    with pytest.raises(VolumeUnavailable, match=f"^the models volume {tmp_path} does not answer$"):
        server.read(lambda: begun.append(1))
    assert begun == []

    impatient.undo()
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "models volume":
            thread.join()
    assert server.read(lambda: 7) == 7


def test_a_read_that_makes_progress_is_not_abandoned(server: Volume, impatient: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch):
    """The check of a large model takes longer than the limit of silence."""
    answer, used = threading.Event(), iter(range(200))

    def progress(reader: threading.Thread) -> float:
        if (seconds := next(used)) == 100:
            answer.set()
        return seconds

    monkeypatch.setattr(volume._Reader, "cpu_seconds", progress)

    assert server.read(lambda: answer.wait(60))


def test_a_read_uses_processor_time(server: Volume):
    reader = volume._Reader(lambda: sum(range(10**6)))
    reader.run()

    assert reader.cpu_seconds() > 0


def test_other_errors_of_a_read_are_those_of_the_caller(server: Volume):
    with pytest.raises(ZeroDivisionError):
        server.read(lambda: 1 // 0)
    with pytest.raises(FileNotFoundError):
        server.read(failing(FileNotFoundError(errno.ENOENT, "no such file")))


def failing(error: Exception):
    def call(*arguments: object, **options: object) -> None:
        raise error

    return call
