"""An attempt from the claim to its end, with a replaced pipeline: which rows it closes, and which it leaves open."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from gregory.env import Environment
from gregory.models import PredictionRunLog
from gregory.reporting.runs import everything
from gregory.runs import db_retry, report_key, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunOutcome, RunSpec
from gregory.shutdown import ShutdownRequest
from job import entrypoint
from job.supervise import StageFailed, Usage
from job.training import TrainingPipeline as Pipeline
from tests.database_rows import HERE, opened, outcome
from tests.fences import taken
from tests.published import publish

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WHERE = "in stage train-lstm after 9 s"
INTERRUPTED = f"interrupted by signal 15 (SIGTERM) {WHERE}"


@pytest.fixture
def spec(subject, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    settings.MODELS_DIR = tmp_path
    # The connection holds the transaction of the test.
    monkeypatch.setattr(db_retry.connection, "close", lambda: None)
    monkeypatch.setattr(db_retry, "PAUSES", (0.0,))
    monkeypatch.setattr(ShutdownRequest, "listen", lambda self, signals, **options: None)
    return opened(subject)


@pytest.fixture
def execute(spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Execute the run with this function instead of its stages; the exit code."""

    def execute(stages: Callable[[Pipeline], None], **environment: Any) -> int:
        monkeypatch.setattr(Pipeline, "run", stages)
        return entrypoint.execute(spec, HERE, Environment(GREGORY_TERMINATION_LOG=tmp_path / "log", **environment))

    return execute


def termination_log(tmp_path: Path) -> RunOutcome:
    """The content of the report in the termination log, if its signature is that of the process that claimed the run."""
    signed = RunOutcome.model_validate_json((tmp_path / "log").read_text())
    outcome = report_key.verify(signed, run().claim_key) if run().claim_key else report_key.without_signature(signed)
    assert outcome is not None
    return outcome


def results() -> list[bool | None]:
    return list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True))


def interrupted(pipeline: Pipeline) -> None:
    pipeline._stages._shutdown.request("interrupted by signal 15 (SIGTERM)")
    raise StageFailed(Reason.INTERRUPTED, INTERRUPTED, INTERRUPTED, Usage(seconds=9.0, peak_bytes=1), where=WHERE)


def run() -> TrainingRun:
    return TrainingRun.objects.get()


def test_an_interrupted_run_closes_its_rows(spec, execute):
    assert execute(interrupted) == 143

    assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, INTERRUPTED)}
    assert (run().state, run().reason, run().detail) == ("cancelled", "interrupted", "interrupted by signal 15 (SIGTERM)")


def test_an_interrupted_run_with_retries_leaves_its_rows_open_and_writes_its_report(spec, execute, tmp_path):
    assert execute(interrupted, GREGORY_RETRIED=True, GREGORY_NODE_NAME="node-1") == 143

    assert (run().state, run().node, results()) == ("running", "node-1", [None, None])
    assert termination_log(tmp_path) == RunOutcome(run_id=spec.run_id, attempt=1, algorithms=(), interrupted=INTERRUPTED)


@pytest.mark.parametrize(("reason", "state"), [(Reason.CANCELLED, "cancelled"), (Reason.STALLED, "failed")])
def test_an_announced_end_is_the_reason(spec, execute, capfd, reason, state):
    def announced(pipeline: Pipeline) -> None:
        store.announce_end(spec, Diagnosis(summary="the announced detail", reason=reason), cancelled_by="me")
        interrupted(pipeline)

    assert execute(announced) == 143

    assert (run().state, run().reason, run().detail) == (state, reason, "the announced detail")
    assert set(PredictionRunLog.objects.values_list("error_message", flat=True)) == {f"the announced detail {WHERE}"}
    log = capfd.readouterr().out
    assert (log.count(f": the announced detail {WHERE}\n"), "signal 15" in log) == (2, False)


def test_without_a_database_it_writes_its_report_and_gives_up(spec, execute, tmp_path, monkeypatch):
    def one_algorithm(pipeline: Pipeline) -> None:
        monkeypatch.setattr(store, "close_algorithm", away)
        pipeline._close(outcome(spec, 0), store.OutcomeDetails())

    def away(*args: object) -> bool:
        raise OperationalError("connection refused")

    assert execute(one_algorithm) == 1

    assert (run().state, results()) == ("running", [None, None])
    assert termination_log(tmp_path) == RunOutcome(
        run_id=spec.run_id,
        attempt=1,
        algorithms=(outcome(spec, 0),),
        interrupted="the database could not be reached: connection refused",
    )


def test_without_a_database_the_claim_gives_up_too(spec, execute, tmp_path, monkeypatch):
    def away(*args: object, **kwargs: object) -> bool:
        raise OperationalError("connection refused")

    monkeypatch.setattr(store, "claim", away)

    assert execute(lambda pipeline: pytest.fail("not claimed")) == 1
    assert termination_log(tmp_path).interrupted == "the database could not be reached: connection refused"


def test_the_failure_of_a_whole_run_is_in_its_report(spec, execute, tmp_path):
    def fails(pipeline: Pipeline) -> None:
        raise StageFailed(Reason.BAD_DATA, "too few", "Traceback: too few", Usage(seconds=1.0, peak_bytes=1))

    assert execute(fails) == 1

    assert [(end.success, end.reason, end.error) for end in termination_log(tmp_path).algorithms] == [
        (False, Reason.BAD_DATA, "Traceback: too few")
    ] * 2
    assert (run().state, run().reason, results()) == ("failed", "bad_data", [False, False])


def test_a_model_that_an_earlier_start_published_is_not_trained_again(spec, execute, tmp_path):
    publish(tmp_path, spec, position=0)
    trained: list[str] = []

    def the_rest(pipeline: Pipeline) -> None:
        trained.extend(algorithm.algorithm for algorithm in pipeline._spec.algorithms)
        pipeline._report.add(outcome(spec, 1))
        store.close_algorithm(spec, outcome(spec, 1))

    assert execute(the_rest) == 0

    assert trained == ["lgbm_tfidf"]
    assert (run().state, results()) == ("succeeded", [True, True])


def test_if_every_model_was_published_nothing_is_trained(spec, execute, tmp_path):
    for position in (0, 1):
        publish(tmp_path, spec, position=position)

    assert execute(lambda pipeline: pytest.fail("no training is left")) == 0

    assert (run().state, results(), RunEvent.objects.count()) == ("succeeded", [True, True], 0)


def test_a_superseded_attempt_does_nothing(spec, execute):
    store.retry(spec, Diagnosis(summary="evicted"), handle=HERE, counts=True)

    assert execute(lambda pipeline: pytest.fail("not claimed")) == 1
    assert results() == [None, None]


def test_a_lost_answer_to_the_claim_is_no_other_process(spec, execute, monkeypatch):
    claim, answers = store.claim, iter([OperationalError("server closed the connection unexpectedly")])

    def loses_its_first_answer(*args: object, **kwargs: object) -> bool:
        claimed = claim(*args, **kwargs)
        for error in answers:
            raise error
        return claimed

    monkeypatch.setattr(store, "claim", loses_its_first_answer)

    def trains(pipeline: Pipeline) -> None:
        for position in (0, 1):
            store.close_algorithm(spec, outcome(spec, position))

    assert execute(trains) == 0
    assert (run().state, results()) == ("succeeded", [True, True])


def test_only_the_row_has_the_key_of_the_process(spec, execute, tmp_path, capfd):
    assert execute(interrupted, GREGORY_RETRIED=True) == 143

    key = run().claim_key
    assert key.startswith("1.")
    files = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert not [text for text in (*files, *capfd.readouterr(), json.dumps(everything(run(), []))) if key.partition(".")[2] in text]


def test_an_attempt_that_a_later_one_replaced_on_the_volume_writes_nothing(spec, execute, tmp_path, monkeypatch):
    """Its database, which it does not reach, cannot tell it."""

    def replaced(pipeline: Pipeline) -> None:
        taken(tmp_path, spec.model_copy(update={"attempt": 2}))
        monkeypatch.setattr(store, "fail_open_rows", lambda *args, **kwargs: pytest.fail("it writes rows"))
        raise FileNotFoundError(2, "No such file or directory")

    assert execute(replaced) == 1

    assert (run().state, results(), (tmp_path / "log").exists()) == ("running", [None, None], False)


def test_an_attempt_stops_at_the_next_check_of_the_volume(spec, execute, tmp_path, monkeypatch):
    monkeypatch.setattr(entrypoint, "HEARTBEAT_SECONDS", 0.01)

    def trains(pipeline: Pipeline) -> None:
        taken(tmp_path, spec.model_copy(update={"attempt": 2}))
        pipeline._stages._shutdown.wait(60)
        assert pipeline._stages._shutdown.reason.startswith("superseded: ")
        interrupted(pipeline)

    assert execute(trains, GREGORY_RETRIED=True) == 1

    assert not (tmp_path / "log").exists()


def test_no_file_of_a_successful_run_is_left(spec, execute, tmp_path):
    for position in (0, 1):
        publish(tmp_path, spec, position=position)
    spec.folder(tmp_path).stages().mkdir()

    assert execute(lambda pipeline: pytest.fail("no training is left")) == 0

    assert list(spec.folder(tmp_path).path.parent.iterdir()) == []


def test_a_volume_that_cannot_be_written_is_the_error_of_the_rows(spec, execute, tmp_path):
    place = spec.folder(tmp_path).path.parent
    place.parent.mkdir(parents=True)
    place.write_text("a file in the way")

    assert execute(lambda pipeline: pytest.fail("nothing can be written")) == 1

    assert (run().state, run().reason, results()) == ("failed", "error", [False, False])
