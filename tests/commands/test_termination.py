"""Signals that end a command: those that the process ignores stay ignored, and another thread than the main one changes none."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from gregory.database import waits
from gregory.management import attended
from gregory.management.command import ManagementCommand
from gregory.management.termination import Terminated, raise_if_terminated, signal_behind, signals_raise
from gregory.models import PredictionRunLog
from gregory.runs.models import TrainingRun
from tests.commands.command_line import MS, rows
from tools.installation import REPOSITORY

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def in_thread(call: Callable[[], object]) -> BaseException | None:
    """The exception of the call in another thread."""
    caught: list[BaseException] = []

    def catch() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - the test compares it
            caught.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=catch)
    thread.start()
    thread.join()
    return caught[0] if caught else None


def test_ctrl_c_ends_a_command_with_a_line_and_no_traceback():
    class Waiting(ManagementCommand):
        def handle(self, *args: object, **flags: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    errors = StringIO()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(SystemExit) as ended:
        Waiting(stdout=StringIO(), stderr=errors).run_from_argv(["manage.py", "waiting"])

    assert (ended.value.code, errors.getvalue()) == (130, "interrupted by signal 2 (SIGINT)\n")


def test_ctrl_c_during_the_imports_of_a_command_has_no_traceback():
    code = """
import runpy, sys
class Interrupted:
    def find_spec(name, *others):
        if name == "django":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted)
sys.argv = ["manage.py", "train_models"]
runpy.run_path("manage.py", run_name="__main__")
"""

    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
def test_an_ignored_signal_stays_ignored(ignored: signal.Signals):
    """`nohup` ignores SIGHUP, and a shell ignores SIGINT for its background jobs."""
    signal.signal(ignored, signal.SIG_IGN)

    with signals_raise():
        os.kill(os.getpid(), ignored)
        raise_if_terminated()
        within = signal.getsignal(ignored)
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)

    assert (within, signal.getsignal(ignored)) == (signal.SIG_IGN, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN


def test_the_signals_of_one_command_are_not_those_of_the_next():
    with signals_raise():
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        assert (waits.ending(), str(signal_behind(OSError()))) == (True, "interrupted by signal 15 (SIGTERM)")

    assert (waits.ending(), signal_behind(OSError())) == (False, None)


def test_another_thread_changes_no_handler():
    before = [signal.getsignal(number) for number in SIGNALS]
    within = []

    def block() -> None:
        with signals_raise():
            within.extend(signal.getsignal(number) for number in SIGNALS)

    assert (in_thread(block), within) == (None, before)


def test_a_signal_to_the_main_thread_ends_no_command_of_another():
    with signals_raise():
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        assert in_thread(raise_if_terminated) is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
class TestCalls:
    def test_a_worker_thread_trains(self, run, feed):
        assert in_thread(lambda: call_command("train_models", *MS, runner="instant", verbose=0)) is None
        assert [row[3] for row in rows()] == [True] * 3

    @pytest.mark.parametrize("command", [("train_models", *MS), ("reconcile_runs", "--once"), ("training_runs", "cancel", "--all")])
    def test_a_call_in_a_transaction_is_refused_with_the_cause(self, run, feed, command: tuple[str, ...]):
        with transaction.atomic(), pytest.raises(CommandError) as caught:
            call_command(*command)

        name = " ".join(command[:2]) if command[0] == "training_runs" else command[0]
        remedy = "call it after the transaction, for example with transaction.on_commit"
        assert str(caught.value) == f"{name} was called in a transaction, so the processes of its runs cannot see their rows; {remedy}"
        assert (caught.value.returncode, PredictionRunLog.objects.count()) == (1, 0)

    def test_a_call_on_commit_trains(self, run, feed):
        with transaction.atomic():
            transaction.on_commit(lambda: call_command("train_models", *MS, runner="instant", verbose=0))

        assert [row[3] for row in rows()] == [True] * 3

    def test_any_exception_closes_the_queued_runs(self, run, feed, monkeypatch: pytest.MonkeyPatch):
        """A task queue raises its own exception in a thread whose time is over."""

        class TimeIsOver(BaseException):
            pass

        def over(*arguments: object, **options: object) -> None:
            raise TimeIsOver("the task took too long")

        monkeypatch.setattr(attended, "execute", over)

        error = in_thread(lambda: call_command("train_models", "--all-teams", runner="instant", verbose=0))

        assert isinstance(error, TimeIsOver)
        assert set(TrainingRun.objects.values_list("state", "reason", "detail")) == {
            ("failed", "not_started", "the command ended before it was started: the task took too long")
        }
        assert {row[3] for row in rows()} == {False}
