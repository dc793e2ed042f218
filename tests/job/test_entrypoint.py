"""From claim to end, with a pipeline that a test puts in its place: who closes what, and what is left to others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from gregory.env import Environment
from gregory.models import PredictionRunLog
from gregory.runs import db_retry, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunOutcome, RunSpec
from job import entrypoint
from job.pipeline import Pipeline
from job.shutdown import ShutdownRequest
from job.supervise import StageFailed, Usage
from tests.reconcile.published import publish
from tests.runs.test_store import HERE, opened, outcome, subject  # noqa: F401 - a fixture

pytestmark = [pytest.mark.django_db, pytest.mark.database]

INTERRUPTED = "interrupted by signal 15 (SIGTERM) in stage train-lstm after 9 s"


@pytest.fixture
def spec(subject, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:  # noqa: F811
    settings.MODELS_DIR = tmp_path
    # Of the test's own connection, which holds its transaction; and nobody has minutes.
    monkeypatch.setattr(db_retry.connection, "close", lambda: None)
    monkeypatch.setattr(db_retry, "PAUSES", (0.0,))
    monkeypatch.setattr(ShutdownRequest, "listen", lambda self, *, watch_parent: None)
    return opened(subject)


@pytest.fixture
def execute(spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The run with this in the place of its stages; what it left in its termination log is in `told`."""

    def execute(stages: Callable[[Pipeline], None], **environment: Any) -> int:
        monkeypatch.setattr(Pipeline, "run", stages)
        return entrypoint.execute(spec, HERE, Environment(GREGORY_TERMINATION_LOG=tmp_path / "log", **environment))

    return execute


def told(tmp_path: Path) -> RunOutcome:
    return RunOutcome.model_validate_json((tmp_path / "log").read_text())


def results() -> list[bool | None]:
    return list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True))


def interrupted(pipeline: Pipeline) -> None:
    pipeline._interruption.request("interrupted by signal 15 (SIGTERM)")
    raise StageFailed(Reason.INTERRUPTED, INTERRUPTED, INTERRUPTED, Usage(seconds=9.0, peak_bytes=1))


def run() -> TrainingRun:
    return TrainingRun.objects.get()


def test_an_interrupted_run_closes_its_rows(spec, execute):
    assert execute(interrupted) == 143

    assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, INTERRUPTED)}
    assert (run().state, run().reason, run().detail) == ("cancelled", "interrupted", "interrupted by signal 15 (SIGTERM)")


def test_where_others_try_again_it_leaves_them_its_rows_and_its_word(spec, execute, tmp_path):
    assert execute(interrupted, GREGORY_RETRIED=True, GREGORY_NODE_NAME="node-1") == 143

    assert (run().state, run().node, results()) == ("running", "node-1", [None, None])
    assert told(tmp_path) == RunOutcome(run_id=spec.run_id, attempt=1, algorithms=(), interrupted=INTERRUPTED)


@pytest.mark.parametrize(("reason", "state"), [(Reason.CANCELLED, "cancelled"), (Reason.STALLED, "failed")])
def test_an_end_that_was_announced_is_the_reason(spec, execute, reason, state):
    def told_to_end(pipeline: Pipeline) -> None:
        store.announce_end(spec, Diagnosis(summary="why it was", reason=reason), cancelled_by="me")
        interrupted(pipeline)

    assert execute(told_to_end) == 143

    assert (run().state, run().reason, run().detail) == (state, reason, "why it was")
    assert set(PredictionRunLog.objects.values_list("error_message", flat=True)) == {f"why it was: {INTERRUPTED}"}


def test_without_its_database_it_leaves_what_it_knows_and_gives_up(spec, execute, tmp_path, monkeypatch):
    def one_algorithm(pipeline: Pipeline) -> None:
        monkeypatch.setattr(store, "close_algorithm", away)
        pipeline._close(outcome(spec, 0), store.OutcomeDetails())

    def away(*args: object) -> bool:
        raise OperationalError("connection refused")

    assert execute(one_algorithm) == 1

    assert (run().state, results()) == ("running", [None, None])
    assert told(tmp_path) == RunOutcome(
        run_id=spec.run_id,
        attempt=1,
        algorithms=(outcome(spec, 0),),
        interrupted="the database could not be reached: connection refused",
    )


def test_a_claim_that_finds_no_database_gives_up_alike(spec, execute, tmp_path, monkeypatch):
    def away(*args: object, **kwargs: object) -> bool:
        raise OperationalError("connection refused")

    monkeypatch.setattr(store, "claim", away)

    assert execute(lambda pipeline: pytest.fail("not claimed")) == 1
    assert told(tmp_path).interrupted == "the database could not be reached: connection refused"


def test_what_stopped_the_whole_run_is_in_its_account_too(spec, execute, tmp_path):
    def fails(pipeline: Pipeline) -> None:
        raise StageFailed(Reason.BAD_DATA, "too few", "Traceback: too few", Usage(seconds=1.0, peak_bytes=1))

    assert execute(fails) == 1

    assert [(end.success, end.reason, end.error) for end in told(tmp_path).algorithms] == [
        (False, Reason.BAD_DATA, "Traceback: too few")
    ] * 2
    assert (run().state, run().reason, results()) == ("failed", "bad_data", [False, False])


def test_what_an_earlier_start_had_published_is_not_trained_again(spec, execute, tmp_path):
    publish(tmp_path, spec, position=0)
    asked: list[str] = []

    def the_rest(pipeline: Pipeline) -> None:
        asked.extend(algorithm.algorithm for algorithm in pipeline._spec.algorithms)
        pipeline._account.add(outcome(spec, 1))
        store.close_algorithm(spec, outcome(spec, 1))

    assert execute(the_rest) == 0

    assert asked == ["lgbm_tfidf"]
    assert (run().state, results()) == ("succeeded", [True, True])


def test_where_everything_was_published_nothing_is_trained(spec, execute, tmp_path):
    for position in (0, 1):
        publish(tmp_path, spec, position=position)

    assert execute(lambda pipeline: pytest.fail("nothing is left")) == 0

    assert (run().state, results(), RunEvent.objects.count()) == ("succeeded", [True, True], 0)


def test_an_attempt_that_is_not_the_current_one_does_nothing(spec, execute):
    store.retry(spec, Diagnosis(summary="evicted"), handle=HERE, counts=True)

    assert execute(lambda pipeline: pytest.fail("not claimed")) == 1
    assert results() == [None, None]
