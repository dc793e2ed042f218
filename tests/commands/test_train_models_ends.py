"""`train_models` ends early, or cannot read its last rows: what it opened does not stay queued, and its exit code follows the rows."""

import os
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError

from gregory.launch.errors import Unreachable
from gregory.management import closing, termination
from gregory.management.termination import Terminated
from gregory.models import PredictionRunLog
from gregory.reporting import summary
from gregory.runs import db_retry, store
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunSpec
from gregory.training import planning
from tests.commands.cluster_runs import MS as MS_ON_CLUSTER
from tests.commands.cluster_runs import ON_CLUSTER, begin, succeed
from tests.commands.command_line import MS, InstantRunner, rows

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ALL = ("--all-teams", "--algo", "lstm,lgbm_tfidf", "--runner", "instant")
AWAY = "the database cannot be used: connection refused; check its settings, or run: python manage.py migrate"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two repetitions without a pause. The connection holds the transaction of the test, so it stays open."""
    monkeypatch.setattr(db_retry, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(db_retry.connection, "close", lambda: None)


def runs() -> set[tuple[str, str]]:
    return set(TrainingRun.objects.values_list("state", "reason"))


def at_call(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[int], None]) -> None:
    """After each call of this function, call `act` with the number of the call, from 1. The caller does not get the result before."""
    original, number = getattr(owner, name), count(1)

    def called(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        act(next(number))
        return result

    monkeypatch.setattr(owner, name, called)


def send(number: int, *, at: int = 1) -> Callable[[int], None]:
    """Send this signal to the command at one call."""
    return lambda call: os.kill(os.getpid(), number) if call == at else None


def away(first: int, last: int = 99) -> Callable[[int], None]:
    """The answers to these calls are lost."""

    def act(call: int) -> None:
        if first <= call <= last:
            raise OperationalError("connection refused")

    return act


class TestWhileRowsAreOpened:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
    def test_a_signal_closes_every_row(self, run, feed, monkeypatch, number: signal.Signals, code: int):
        at_call(monkeypatch, store, "open_run", send(number, at=2))

        done = run(*ALL)

        name = f"interrupted by signal {number.value} ({number.name})"
        assert (done.code, done.out, done.err) == (code, "", f"CommandError: {name}; every open row was closed\n")
        assert runs() == {("cancelled", "interrupted")}
        # The command did not get the result of the second call.
        assert [row[3] for row in rows()] == [False] * 4
        assert set(PredictionRunLog.objects.values_list("error_message", flat=True)) == {f"{name} before it was started"}

    def test_a_signal_closes_the_rows_of_a_back_end_that_keeps_its_runs(self, shell, cluster, monkeypatch):
        at_call(monkeypatch, store, "open_run", send(signal.SIGTERM, at=3))

        done = shell("train_models", "--all-teams", *ON_CLUSTER)

        assert (done.code, done.out, cluster.submitted) == (143, "", [])
        assert done.err.startswith("CommandError: interrupted by signal 15 (SIGTERM); every open row was closed; resume neurology/als")
        assert runs() == {("cancelled", "interrupted")}

    def test_a_second_signal_does_not_stop_the_closing(self, run, feed, monkeypatch):
        at_call(monkeypatch, store, "open_run", send(signal.SIGINT, at=2))
        at_call(monkeypatch, store, "end_queued", send(signal.SIGINT))

        assert run(*ALL).code == 130
        assert runs() == {("cancelled", "interrupted")}

    def test_a_database_that_goes_away_closes_the_rows_when_it_answers(self, run, feed, monkeypatch):
        opening = store.open_run
        monkeypatch.setattr(store, "open_run", lambda spec, **given: opening(spec, **given) if spec.subject.slug == "als" else away(1)(1))

        done = run(*ALL)

        assert (done.code, done.out, done.err) == (1, "", f"CommandError: {AWAY}\n")
        assert runs() == {("failed", "not_started")}
        (error,) = set(PredictionRunLog.objects.values_list("error_message", flat=True))
        assert error == "the command ended before it was started: connection refused"

    def test_rows_that_cannot_be_closed_are_named_with_the_remedy(self, run, feed, monkeypatch):
        at_call(monkeypatch, store, "open_run", send(signal.SIGTERM))
        monkeypatch.setattr(termination, "CLOSING_SECONDS", 0.0)
        monkeypatch.setattr(store, "end_queued", lambda *args: away(1)(1))

        done = run(*ALL)

        remedy = "when it answers, run: python manage.py reconcile_runs --once"
        assert (done.code, done.out) == (143, f"{AWAY}; up to 3 runs may still be queued; {remedy}\n")

    def test_a_lost_answer_opens_no_second_run(self, run, feed, monkeypatch):
        at_call(monkeypatch, store, "open_run", away(1, 1))

        done = run(*ALL)

        assert (done.code, done.err) == (0, "")
        assert [row[3] for row in rows()] == [True] * 6


class TestBeforeTheFirstRow:
    def test_a_lost_connection_is_opened_again(self, run, feed, monkeypatch):
        at_call(monkeypatch, planning, "recorded_versions", away(1, 1))

        assert run(*ALL).code == 0

    def test_a_database_that_is_away_is_an_error_at_once(self, run, feed, models, monkeypatch):
        at_call(monkeypatch, planning, "recorded_versions", away(1))
        monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("no pause"))

        assert run(*ALL) == (1, "", f"CommandError: {AWAY}\n")


class TestWhileRunsAreExecuted:
    def test_a_signal_before_the_first_start_closes_every_row(self, run, feed, monkeypatch):
        at_call(monkeypatch, store, "is_unfinished", send(signal.SIGTERM))

        assert run(*ALL).code == 143
        assert runs() == {("cancelled", "interrupted")}
        assert [row[3] for row in rows()] == [False] * 6

    def test_an_error_in_one_run_closes_the_queued_ones(self, run, feed, monkeypatch):
        monkeypatch.setattr(InstantRunner, "logs", lambda *args, **kwargs: away(1)(1))

        done = run(*ALL)

        assert (done.code, done.err) == (1, f"CommandError: {AWAY}\n")
        # Its process ended without a claim. Each of the others was never started.
        assert runs() == {("failed", "lost"), ("failed", "not_started")}
        assert [row[3] for row in rows()] == [False] * 6

    def test_a_database_that_is_away_leaves_a_run_queued_that_its_back_end_does_not_take_yet(self, shell, cluster, monkeypatch):
        cluster.refuses = Unreachable("no answer")
        at_call(monkeypatch, store, "record_delay", away(1))

        done = shell("train_models", *MS_ON_CLUSTER)

        assert (done.code, done.err, runs()) == (1, f"CommandError: {AWAY}\n", {("pending", "")})

    def test_a_signal_that_appears_as_an_error_of_the_database_ends_the_wait(self, shell, cluster):
        def in_a_statement() -> None:
            with pytest.raises(Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
            raise OperationalError("sending query failed: another command is already in progress")

        cluster.steps = [begin, in_a_statement, lambda: pytest.fail("another pass")]

        done = shell("train_models", *MS_ON_CLUSTER, "--wait")

        assert (done.code, runs()) == (143, {("running", "")})
        assert done.err.startswith("CommandError: interrupted by signal 15 (SIGTERM); the submitted runs continue; ")

    def test_a_signal_after_the_resume_closes_the_attempt(self, run, feed, models, monkeypatch):
        assert run(*MS, "--algo", "lstm", "--runner", "instant").code == 0
        PredictionRunLog.objects.update(success=None, run_finished=None)
        TrainingRun.objects.update(state="running")
        run_id = TrainingRun.objects.get().run_id
        RunSpec.model_validate(TrainingRun.objects.get().spec).folder(models).stages().mkdir(parents=True)
        at_call(monkeypatch, store, "resume", send(signal.SIGTERM))

        done = run("--resume", run_id)

        assert (done.code, runs(), TrainingRun.objects.get().attempt) == (143, {("cancelled", "interrupted")}, 2)
        assert [row[3] for row in rows()] == [False]

    def test_a_lost_answer_to_the_resume_opens_no_third_attempt(self, run, feed, models, monkeypatch):
        assert run(*MS, "--algo", "lstm", "--runner", "instant").code == 0
        PredictionRunLog.objects.update(success=None, run_finished=None)
        TrainingRun.objects.update(state="running")
        run_id = TrainingRun.objects.get().run_id
        RunSpec.model_validate(TrainingRun.objects.get().spec).folder(models).stages().mkdir(parents=True)
        at_call(monkeypatch, store, "resume", away(1, 1))

        assert run("--resume", run_id).code == 0
        assert (runs(), TrainingRun.objects.get().attempt) == ({("succeeded", "")}, 2)


class TestTheClosingReport:
    def test_a_blink_of_the_database_changes_no_exit_code(self, run, feed, monkeypatch):
        at_call(monkeypatch, summary, "outcomes", away(1, 2))

        done = run(*ALL)

        assert (done.code, done.err) == (0, "")

    def test_a_blink_while_the_command_waits_changes_no_exit_code(self, shell, cluster, monkeypatch):
        cluster.steps = [begin, succeed]
        at_call(monkeypatch, store, "find_runs", away(3, 3))

        done = shell("train_models", *MS_ON_CLUSTER, "--wait")

        assert (done.code, done.err) == (0, "")

    def test_rows_that_cannot_be_read_are_named(self, run, feed, monkeypatch):
        at_call(monkeypatch, summary, "outcomes", away(1))

        done = run(*ALL)

        first, *_, last = PredictionRunLog.objects.order_by("pk").values_list("pk", flat=True)
        remedy = "when it answers, run: python manage.py reconcile_runs --once, then training_runs list"
        assert (done.code, done.err) == (
            1,
            f"CommandError: the results of the 6 rows {first}-{last} are not known: {AWAY}; {remedy}\n",
        )

    def test_a_signal_ends_it(self, run, feed, monkeypatch):
        at_call(monkeypatch, summary, "outcomes", away(1))
        monkeypatch.setattr(termination, "CLOSING_SECONDS", 0.0)
        monkeypatch.setattr(termination.time, "sleep", send_at_once(signal.SIGTERM))

        done = run(*ALL)

        assert done.code == 143
        assert done.err.startswith("CommandError: interrupted by signal 15 (SIGTERM); the results of the 6 rows ")

    def test_many_resume_commands_are_counted(self, shell, cluster, monkeypatch):
        monkeypatch.setattr(closing, "HINTS", 1)
        at_call(monkeypatch, store, "open_run", send(signal.SIGTERM, at=3))

        done = shell("train_models", "--all-teams", *ON_CLUSTER)

        assert done.err.count("; resume neurology/als with: python manage.py train_models --resume ") == done.err.count("--resume") == 1
        assert done.err.endswith("; 1 more in: python manage.py training_runs list\n")


def send_at_once(number: int) -> Callable[[float], None]:
    return lambda seconds: os.kill(os.getpid(), number)
