"""The liveness file of `reconcile_runs`, and the probe that reads it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import OperationalError

from gregory.management.commands.reconcile_runs import Command
from gregory.management.liveness import LivenessFile, is_alive
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult
from gregory.shutdown import ShutdownRequest
from tools.installation import REPOSITORY

LIMIT = 900


@pytest.fixture
def file(tmp_path: Path, settings: Any) -> Path:
    settings.LIVENESS_FILE = tmp_path / "alive"
    return settings.LIVENESS_FILE


@pytest.fixture
def one_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Iterator[ReconcileResult]]], None]:
    """Run the loop for one pass, which is this function."""

    def run(reconcile: Callable[[], Iterator[ReconcileResult]]) -> None:
        shutdown = ShutdownRequest()
        monkeypatch.setattr(Reconciler, "reconcile_once", lambda reconciler: reconcile())
        monkeypatch.setattr(Reconciler, "collect_garbage", lambda reconciler: iter(()))
        monkeypatch.setattr(shutdown, "wait", lambda seconds: shutdown.request("one pass is enough"))
        Command()._loop(15, shutdown)

    return run


def make_old(file: Path) -> None:
    os.utime(file, (time.time() - LIMIT - 60,) * 2)


def test_a_pass_that_fails_is_progress(file: Path, one_pass: Any):
    seen = []

    def reconcile() -> Iterator[ReconcileResult]:
        make_old(file)
        # A pass that never returns leaves the file as it is here.
        seen.append(is_alive(file, LIMIT))
        raise OperationalError("connection refused")

    one_pass(reconcile)

    assert seen == [False]
    assert is_alive(file, LIMIT)


def test_a_loop_without_a_path_writes_no_file(settings: Any, one_pass: Any):
    settings.LIVENESS_FILE = None
    one_pass(lambda: iter(()))


def test_a_path_that_cannot_be_written_ends_the_command(settings: Any, tmp_path: Path, one_pass: Any):
    settings.LIVENESS_FILE = tmp_path / "missing" / "alive"

    with pytest.raises(CommandError, match=r"GREGORY_LIVENESS_FILE: .*No such file"):
        one_pass(lambda: iter(()))


def test_a_file_that_cannot_be_written_for_a_moment_ends_nothing(file: Path, capsys: pytest.CaptureFixture[str]):
    liveness = LivenessFile(file)
    file.unlink()
    file.parent.rmdir()

    liveness.beat()

    assert "cannot write the liveness file: " in capsys.readouterr().err


def test_the_probe_fails_for_an_old_file_and_for_a_missing_one(file: Path):
    LivenessFile(file)

    def probe(seconds: int) -> int:
        command = [sys.executable, "-m", "gregory.management.liveness", str(file), str(seconds)]
        return subprocess.run(command, cwd=REPOSITORY).returncode

    assert probe(LIMIT) == 0
    make_old(file)
    assert probe(LIMIT) == 1
    file.unlink()
    assert not is_alive(file, LIMIT)
