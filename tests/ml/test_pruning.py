"""Removal of old versions: which ones stay, and what a killed process leaves."""

import os
import random
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gregory.ml import artifacts, promoting, pruning
from gregory.ml.errors import ArtifactError
from gregory.ml.promotion import complete_versions, read_promotion
from tests.ml.test_promoting import model

AT = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = ["20260101", "20260102", "20260103", "20260104", "20260105"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in NAMES:
        model(tmp_path / "lstm", version)
    return tmp_path / "lstm"


def promote(folder: Path, *names: str) -> None:
    for version in names:
        promoting.promote(folder, version, seen=read_promotion(folder), at=AT, by="ann", reason="")


def prune(folder: Path, *, keep: int = 1, with_previous: bool = False) -> list[str]:
    plan = pruning.planned(folder, keep=keep, with_previous=with_previous)
    return pruning.prune(folder, plan.remove, keep=keep, with_previous=with_previous, at=AT, by="ann")


def test_the_newest_versions_stay(folder: Path):
    assert pruning.planned(folder, keep=2) == pruning.Plan(
        remove=("20260101", "20260102", "20260103"), stay={"20260104": "among the newest", "20260105": "the newest"}
    )


def test_the_promoted_version_and_the_one_before_stay(folder: Path):
    promote(folder, "20260101", "20260102", "20260103")

    assert pruning.planned(folder, keep=1) == pruning.Plan(
        remove=("20260101", "20260104"),
        stay={"20260105": "among the newest", "20260102": "a rollback goes to it", "20260103": "promoted"},
    )
    assert pruning.planned(folder, keep=1, with_previous=True).remove == ("20260101", "20260102", "20260104")


def test_a_removed_version_leaves_only_its_record(folder: Path):
    digest = artifacts.digest(folder / "20260101")

    assert prune(folder, keep=4) == ["20260101"]

    assert complete_versions(folder) == NAMES[1:]
    assert pruning.read_pruned(folder) == (pruning.Pruned(version="20260101", digest=digest, at=AT, by="ann"),)
    assert sorted(path.name for path in folder.iterdir()) == sorted([".promotion.lock", "pruned.json", *NAMES[1:]])


def test_a_version_that_is_promoted_after_the_plan_stays(folder: Path):
    plan = pruning.planned(folder, keep=1)
    promote(folder, "20260102")

    assert pruning.prune(folder, plan.remove, keep=1, with_previous=False, at=AT, by="ann") == ["20260101", "20260103", "20260104"]
    assert complete_versions(folder) == ["20260102", "20260105"]


def test_nothing_is_planned_while_the_promoted_version_has_no_folder(folder: Path):
    promote(folder, "20260102")
    shutil.rmtree(folder / "20260102")

    with pytest.raises(ArtifactError, match="version 20260102 is promoted and has no folder"):
        pruning.planned(folder, keep=1)


def test_a_rollback_to_a_removed_version_is_refused(folder: Path):
    promote(folder, "20260101", "20260105")
    prune(folder, with_previous=True)
    seen = read_promotion(folder)
    assert seen is not None

    with pytest.raises(ArtifactError) as caught:
        promoting.roll_back(folder, seen=seen, at=AT, by="ann", reason="")

    assert str(caught.value) == f"{folder}: version 20260101 has no folder; promote another one: 20260105"


def test_a_process_that_ends_during_a_removal_leaves_no_model_and_the_next_one_removes_the_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        """The end of the process."""

    def kill(path: Path) -> None:
        (path / "metrics.json").unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill)
        with pytest.raises(Killed):
            prune(folder, keep=4)
    (rest,) = folder.glob(".pruned-20260101-*")
    assert complete_versions(folder) == NAMES[1:]

    assert prune(folder, keep=4) == []
    assert not rest.exists()


def test_a_damaged_record_is_named(folder: Path):
    (folder / "pruned.json").write_text("[]")

    with pytest.raises(ArtifactError) as caught:
        prune(folder)

    assert str(caught.value).startswith(f"{folder}/pruned.json is damaged: ")
    assert complete_versions(folder) == NAMES


def test_a_process_that_is_killed_at_any_time_leaves_whole_models_and_a_record_of_each_removed_one(folder: Path):
    pauses = random.Random(19)
    known = set(NAMES)
    for number in range(20):
        for version in (f"202602{number:02}", f"202603{number:02}"):
            model(folder, version)
            known.add(version)
        child = os.fork()
        if child == 0:
            prune(folder)
            os._exit(0)
        time.sleep(pauses.uniform(0, 0.015))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

        present = complete_versions(folder)
        assert [defect for version in present for defect in artifacts.verify(folder / version)] == []
        assert known - set(present) <= {one.version for one in pruning.read_pruned(folder)}
    prune(folder)
    assert complete_versions(folder) == ["20260319"]
    assert list(folder.glob(".pruned-*")) == []
