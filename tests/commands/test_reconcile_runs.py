"""`reconcile_runs`: its output, and errors that do not end it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from gregory.management.commands.reconcile_runs import Command
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs.models import TrainingRun
from gregory.shutdown import ShutdownRequest
from tests.database_rows import opened

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_a_volume_that_refuses_deletes_is_an_error_message_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def collect_garbage(*arguments: Any) -> Iterator[str]:
        yield "the working folder of one"
        raise OSError(30, "Read-only file system", "/models/.runs/two")

    monkeypatch.setattr(Reconciler, "collect_garbage", collect_garbage)

    call_command("reconcile_runs", "--once")

    output = capsys.readouterr()
    assert output.out == "0 unfinished runs, 0 closed\nremoved the working folder of one\n"
    assert output.err == "cannot remove the files of old runs: [Errno 30] Read-only file system: '/models/.runs/two'\n"


def test_a_requested_end_leaves_the_other_runs_to_the_next_reconciler(subject, monkeypatch: pytest.MonkeyPatch):
    run, shutdown = TrainingRun.objects.get(pk=opened(subject).run_id), ShutdownRequest()

    def reconcile(reconciler: Reconciler) -> Iterator[ReconcileResult]:
        shutdown.request("interrupted by a test")
        yield ReconcileResult(run=run, action=ResultKind.LEFT, detail="left alone")
        pytest.fail("the pass went on")

    monkeypatch.setattr(Reconciler, "reconcile_once", reconcile)

    Command()._loop(15, shutdown)
