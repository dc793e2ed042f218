"""The fence on the models volume: of several starts of a run, only the latest publishes."""

import fcntl
import os
from pathlib import Path

import pytest

from gregory.ml import files
from gregory.runs.spec import RunSpec
from job import fence
from job.fence import Fence, Superseded
from tests import damage
from tests.fences import taken


@pytest.fixture
def second(spec: RunSpec) -> RunSpec:
    return spec.model_copy(update={"attempt": 2})


def never() -> bool:
    return False


def always() -> bool:
    return True


def test_the_next_attempt_takes_the_fence_without_the_database(spec, second, tmp_path: Path):
    first = taken(tmp_path, spec)
    assert first.is_held()

    later = taken(tmp_path, second)

    assert (first.is_held(), later.is_held()) == (False, True)
    with pytest.raises(Superseded), first.held():
        pytest.fail("it does not have the fence")
    with pytest.raises(Superseded):
        first.require()
    with later.held():
        assert later.is_held()


def test_a_process_of_an_older_release_is_superseded_as_soon_as_the_next_attempt_begins(spec, second, tmp_path: Path):
    """It works where older releases work. Its folder, with its fence, gets the new place."""
    older, place = Fence(tmp_path, spec), tmp_path / ".runs" / spec.run_id
    place.mkdir(parents=True)
    older._file = place / "fence"
    older._file.write_text(older._mine)
    older._taken = True

    later = taken(tmp_path, second)

    assert (place.exists(), older.is_lost(), later.is_held()) == (False, True, True)
    with pytest.raises(Superseded), older.held():
        pytest.fail("it does not have the fence")


def test_an_attempt_that_was_stopped_before_it_took_the_fence_does_not_get_it(spec, second, tmp_path: Path):
    later = taken(tmp_path, second)

    assert not Fence(tmp_path, spec).take(never)

    assert later.is_held()


def test_a_database_that_lost_the_later_attempt_decides(spec, second, tmp_path: Path):
    lost = taken(tmp_path, second)

    assert Fence(tmp_path, spec).take(always)

    assert not lost.is_held()


def test_another_start_of_the_same_attempt_needs_the_word_of_the_database(spec, tmp_path: Path):
    first, again = taken(tmp_path, spec), Fence(tmp_path, spec)

    assert not again.take(never)
    assert again.take(always)

    assert (first.is_held(), again.is_held()) == (False, True)


def test_a_start_that_took_the_fence_meanwhile_keeps_it(spec, second, tmp_path: Path):
    """The database answers a stopped attempt late, and then another attempt has begun."""
    taken(tmp_path, spec)
    later, answers = Fence(tmp_path, second), iter([True, False])

    def answer() -> bool:
        assert later.is_held() or later.take(never)
        return next(answers)

    assert not Fence(tmp_path, spec).take(answer)

    assert later.is_held()


def test_the_folder_of_a_removed_run_belongs_to_no_start(spec, tmp_path: Path):
    first = taken(tmp_path, spec)

    first.remove()

    assert not first.is_held()
    with pytest.raises(Superseded), first.held():
        pytest.fail("the run has ended")


@pytest.mark.parametrize("kind", ["a pipe", "a link to a device", "a folder"])
def test_a_foreign_object_in_its_place_is_an_error(spec, tmp_path: Path, kind: str):
    damage.replace(spec.folder(tmp_path).fence_file, kind)

    with pytest.raises(OSError, match=r"^\[Errno \d+\]"):
        Fence(tmp_path, spec).take(never)


@pytest.mark.parametrize("content", [b"", b"2", b"\xff\xfe", b"no number"])
def test_an_incomplete_file_is_replaced(spec, tmp_path: Path, content: bytes):
    file = spec.folder(tmp_path).fence_file
    file.parent.mkdir(parents=True)
    file.write_bytes(content)

    assert Fence(tmp_path, spec).take(lambda: content == b"2")


def test_a_publication_delays_the_next_attempt(spec, second, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, waits = taken(tmp_path, spec), []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    monkeypatch.setattr(files.time, "sleep", wait)
    descriptor = os.open(spec.folder(tmp_path).fence_file, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        taken(tmp_path, second)
    finally:
        os.close(descriptor)

    assert len(waits) == 1
    assert not first.is_held()


def test_a_holder_that_never_ends_does_not_stop_the_next_attempt(spec, second, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = taken(tmp_path, spec)
    monkeypatch.setattr(fence, "LOCK_SECONDS", 0.2)

    with first.held():
        taken(tmp_path, second)

    assert not first.is_held()


def test_a_volume_without_locks_is_fenced_by_the_comparison(spec, second, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    first = taken(tmp_path, spec)
    taken(tmp_path, second)

    with pytest.raises(Superseded), first.held():
        pytest.fail("it does not have the fence")
