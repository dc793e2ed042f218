"""Changes of the promoted version: one after the other, each whole, none lost silently."""

import fcntl
import os
import random
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gregory.ml import artifacts, promoting
from gregory.ml.errors import ArtifactError
from gregory.ml.promotion import Promotion, read_promotion
from gregory.ml.text import TEXT_VERSION
from tests.published import manifest

AT = datetime(2026, 1, 2, tzinfo=UTC)


def model(folder: Path, version: str, *, text_version: int = TEXT_VERSION) -> None:
    """A complete version of the algorithm of the folder."""
    (folder / version).mkdir(parents=True)
    (folder / version / "metrics.json").write_text('{"test_f1": 0.25}')
    described = manifest(algorithm="lstm")
    provenance = described.provenance.model_copy(update={"version": version})
    data = described.data.model_copy(update={"text_version": text_version})
    artifacts.write_manifest(folder / version, described.model_copy(update={"provenance": provenance, "data": data}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An algorithm with three versions."""
    for version in ("20260101", "20260102", "20260103"):
        model(tmp_path / "team" / "subject" / "lstm", version)
    return tmp_path / "team" / "subject" / "lstm"


def promote(folder: Path, version: str) -> Promotion:
    return promoting.promote(folder, version, seen=read_promotion(folder), at=AT, by="ann@host", reason="why")


def test_a_rollback_promotes_the_version_before_and_keeps_the_history(folder: Path):
    promote(folder, "20260101")
    seen = promote(folder, "20260103")

    promoting.roll_back(folder, seen=seen, at=AT, by="bob@host", reason="worse")

    present = read_promotion(folder)
    assert present is not None
    assert [(change.action, change.version, change.by, change.reason) for change in present.selections] == [
        ("promote", "20260101", "ann@host", "why"),
        ("promote", "20260103", "ann@host", "why"),
        ("rollback", "20260101", "bob@host", "worse"),
    ]


def test_every_account_can_read_the_promotion_whatever_the_umask(folder: Path):
    before = os.umask(0o077)
    try:
        promote(folder, "20260101")
    finally:
        os.umask(before)

    assert (folder / "promoted.json").stat().st_mode & 0o777 == 0o644


def test_a_rollback_without_an_earlier_promotion_is_refused(folder: Path):
    seen = promote(folder, "20260103")

    with pytest.raises(ArtifactError) as caught:
        promoting.roll_back(folder, seen=seen, at=AT, by="bob", reason="")

    assert str(caught.value) == f"{folder}: no other version was promoted before 20260103; promote one by its name"


@pytest.mark.parametrize(("version", "known"), [("20260109", "promote another one: 20260101, 20260102, 20260103")])
def test_a_version_without_a_folder_is_refused(folder: Path, version: str, known: str):
    with pytest.raises(ArtifactError) as caught:
        promote(folder, version)

    assert str(caught.value) == f"{folder}: version {version} has no folder; {known}"
    assert read_promotion(folder) is None


def test_of_two_changes_of_one_state_the_second_is_refused(folder: Path):
    promote(folder, "20260101")
    seen = read_promotion(folder)
    assert seen is not None
    promoting.promote(folder, "20260102", seen=seen, at=AT, by="bob@host", reason="")

    with pytest.raises(ArtifactError) as caught:
        promoting.roll_back(folder, seen=seen, at=AT, by="ann", reason="")

    expected = "meanwhile bob@host promoted version 20260102; nothing was changed: look at it with `models list`, and repeat the command"
    assert str(caught.value) == f"{folder}: {expected}"
    with pytest.raises(ArtifactError, match="meanwhile bob@host promoted version 20260102"):
        promoting.promote(folder, "20260103", seen=None, at=AT, by="ann", reason="")


def test_of_many_promotions_at_once_each_is_written_or_refused(folder: Path):
    done: list[str] = []
    start = threading.Barrier(8)

    def change(number: int) -> None:
        start.wait()
        try:
            promoting.promote(folder, "20260101", seen=None, at=AT, by=f"{number}", reason="")
        except ArtifactError:
            return
        done.append(f"{number}")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    present = read_promotion(folder)
    assert present is not None
    assert ([present.by], present.history) == (done, ())


def test_a_lock_that_another_process_keeps_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(promoting, "LOCK_SECONDS", 0)
    with (folder / ".promotion.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ArtifactError) as caught:
            promote(folder, "20260101")

    assert str(caught.value) == f"{folder}: another process has changed the versions for 0 s; repeat the command later"


def test_a_damaged_promotion_is_replaced(folder: Path):
    (folder / "promoted.json").write_text("{")

    promoting.promote(folder, "20260101", seen=promoting.present(folder), at=AT, by="ann", reason="")

    assert read_promotion(folder) == Promotion(version="20260101", at=AT, by="ann")


def test_a_complete_version_has_no_defects(folder: Path):
    assert promoting.defects(folder, "20260101") == []


def test_a_flipped_bit_prevents_a_promotion(folder: Path):
    metrics = folder / "20260101" / "metrics.json"
    metrics.write_bytes(bytes([metrics.read_bytes()[0] ^ 1]) + metrics.read_bytes()[1:])

    assert promoting.defects(folder, "20260101") == [f"{metrics}: changed since training (sha256 differs)"]


def test_a_copy_under_another_name_cannot_be_promoted(folder: Path):
    (folder / "20260101").rename(folder / "20260109")

    copied = f"{folder / '20260109'}: holds team/subject/lstm/20260101; it was moved or copied here"
    assert promoting.defects(folder, "20260109") == [copied]


def test_only_a_model_of_a_known_text_version_can_be_promoted(folder: Path):
    model(folder, "20260104", text_version=1)
    model(folder, "20260105", text_version=7)

    assert promoting.defects(folder, "20260104") == []
    text = "the model has text version 7, and not 1 or 2: train the subject again"
    assert promoting.defects(folder, "20260105") == [f"{folder / '20260105'}: {text}"]


def test_a_process_that_is_killed_at_any_time_leaves_a_whole_promotion(folder: Path):
    """Thirty kills. Each process promotes and rolls back until its end."""
    promote(folder, "20260101")
    promote(folder, "20260102")
    pauses = random.Random(19)
    unfinished = 0
    for _ in range(30):
        begun, begins = os.pipe()
        child = os.fork()
        if child == 0:
            while True:
                promote(folder, "20260103")
                seen = read_promotion(folder)
                assert seen is not None
                promoting.roll_back(folder, seen=seen, at=AT, by="child", reason="")
                os.write(begins, b"!")
        # A new process may get no processor for longer than the pause.
        os.read(begun, 1)
        os.close(begun)
        os.close(begins)
        time.sleep(pauses.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

        present = read_promotion(folder)
        assert present is not None
        assert present.version in {"20260102", "20260103"}
        assert present.previous in {"20260101", "20260102"}
        unfinished += len(list(folder.glob(".promoted.json.*")))

    promote(folder, "20260103")
    assert unfinished > 0, "no process was killed between its two steps"
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [".promotion.lock", "promoted.json"]
