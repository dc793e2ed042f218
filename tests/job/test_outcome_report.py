"""What a run leaves of its end beside the rows: whole in its folder, small where its machine keeps it."""

import json
from pathlib import Path

import pytest

from gregory.ml.config import TrainConfig
from gregory.ml.metrics import NAMES
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunOutcome, RunSpec, Scope, Window
from job.outcome_report import MAXIMUM_BYTES, OutcomeReport, compact

METRICS = {**{f"{part}_{name}": 0.123456789012345678 for part in ("val", "test") for name in NAMES}, "prob_threshold": 0.8}
ALGORITHMS = ("pubmed_bert", "lgbm_tfidf", "lstm")


def spec(attempt: int = 1) -> RunSpec:
    return RunSpec(
        run_id="0123456789ab",
        attempt=attempt,
        attempt_token="token",
        team=Scope(id=1, slug="team"),
        subject=Scope(id=2, slug="subject"),
        algorithms=tuple(AlgorithmSpec(algorithm=name, run_log_id=number, version="20260101") for number, name in enumerate(ALGORITHMS, 1)),
        config=TrainConfig(),
        window=Window(cutoff=None, description="all articles"),
    )


def success(number: int = 1, **more: object) -> AlgorithmOutcome:
    return AlgorithmOutcome(
        algorithm=ALGORITHMS[number - 1],
        run_log_id=number,
        version="20260101",
        success=True,
        metrics=METRICS,
        artifact=f"team/subject/{ALGORITHMS[number - 1]}/20260101",
        digest="d" * 64,
        seconds=1234.5678,
        peak_bytes=2**33,
        **more,
    )


def failure(number: int, error: str) -> AlgorithmOutcome:
    return AlgorithmOutcome(
        algorithm=ALGORITHMS[number - 1], run_log_id=number, version="20260101", success=False, reason=Reason.ERROR, error=error
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "termination-log"


@pytest.fixture
def account(tmp_path: Path, log: Path) -> OutcomeReport:
    return OutcomeReport(spec(), models_dir=tmp_path, termination_log=log)


def left(tmp_path: Path) -> RunOutcome:
    return RunOutcome.model_validate_json((tmp_path / ".runs/0123456789ab/outcome.json").read_text())


def test_both_copies_tell_the_same_where_it_is_little(account, tmp_path, log):
    account.add(success())
    account.write()

    assert left(tmp_path) == RunOutcome(run_id="0123456789ab", attempt=1, algorithms=(success(),))
    assert RunOutcome.model_validate_json(log.read_text()) == left(tmp_path)


def test_where_nothing_is_to_be_told_the_log_s_end_is_not_put_out_of_its_place(account, tmp_path, log):
    account.write()

    assert left(tmp_path).algorithms == ()
    assert not log.exists()


def test_it_grows_with_every_algorithm(account, tmp_path):
    for number in (1, 2):
        account.add(success(number))
        account.write()

    assert [end.run_log_id for end in left(tmp_path).algorithms] == [1, 2]


def test_what_stopped_the_run_is_the_end_of_every_algorithm_without_one(account, tmp_path):
    account.add(success(1))
    account.fail_the_rest(reason=Reason.BAD_DATA, error="too few")
    account.write()

    assert [(end.success, end.error) for end in left(tmp_path).algorithms] == [(True, ""), (False, "too few"), (False, "too few")]


@pytest.mark.parametrize(
    "ends",
    [
        (success(1), success(2), success(3)),
        (success(1, warnings=("w" * 3000, "ü" * 3000)), success(2), failure(3, "é" * 9000 + "the last line")),
        tuple(failure(number, '"\\\n\0' * 50_000 + "the last line") for number in (1, 2, 3)),
    ],
    ids=["successes", "warnings and an error", "errors that JSON makes longer"],
)
def test_what_its_machine_keeps_is_small_has_every_metric_and_the_end_of_every_error(ends):
    whole = RunOutcome(run_id="0123456789ab", attempt=1, algorithms=ends, interrupted="why " * 2000 + "in the end")

    text = compact(whole)

    assert len(text) <= MAXIMUM_BYTES
    kept = RunOutcome.model_validate_json(text)
    for end, full in zip(kept.algorithms, ends, strict=True):
        assert (end.metrics, end.success, end.digest, end.reason) == (full.metrics, full.success, full.digest, full.reason)
        assert end.error == full.error or end.error.endswith("the last line")
    assert kept.interrupted.endswith("in the end")


def test_errors_are_whole_in_the_folder(account, tmp_path):
    account.add(failure(1, "x" * 100_000))
    account.write()

    assert len(left(tmp_path).algorithms[0].error) == 100_000


def test_an_attempt_that_was_superseded_does_not_cover_what_the_next_one_says(account, tmp_path):
    later = OutcomeReport(spec(attempt=2), models_dir=tmp_path, termination_log=None)
    later.add(success())
    later.write()

    account.give_up("superseded")
    account.write()

    assert left(tmp_path).attempt == 2


def test_the_next_attempt_takes_the_place_of_the_one_before(account, tmp_path):
    account.write()

    OutcomeReport(spec(attempt=2), models_dir=tmp_path, termination_log=None).write()

    assert left(tmp_path).attempt == 2


def test_a_disk_that_takes_nothing_ends_no_run(tmp_path):
    (tmp_path / ".runs").write_text("a file in the way")

    OutcomeReport(spec(), models_dir=tmp_path, termination_log=tmp_path / "no such folder" / "log").write()


def test_what_is_left_is_one_json_value_and_nothing_half_written(account, tmp_path):
    account.write()

    assert [path.name for path in (tmp_path / ".runs/0123456789ab").iterdir()] == ["outcome.json"]
    assert json.loads((tmp_path / ".runs/0123456789ab/outcome.json").read_text())["interrupted"] == ""


def test_forgotten_when_every_row_has_its_end(account, tmp_path):
    account.write()
    account.remove()
    account.remove()

    assert not (tmp_path / ".runs/0123456789ab/outcome.json").exists()
