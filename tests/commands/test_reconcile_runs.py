"""`reconcile_runs`: its output, and errors that do not end it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from gregory.reconcile.loop import Reconciler

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
