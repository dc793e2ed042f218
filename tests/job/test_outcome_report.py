"""The outcome report: complete in the run's folder, at most 4,096 bytes in the termination log."""

import json
from pathlib import Path

import pytest

from gregory.ml.config import TrainConfig
from gregory.ml.metrics import NAMES
from gregory.runs import report_key
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunOutcome, RunSpec, Scope, TrainSpec, Window
from job.outcome_report import MAXIMUM_BYTES, OutcomeReport, compact
from tests import damage

METRICS = {**{f"{part}_{name}": 0.123456789012345678 for part in ("val", "test") for name in NAMES}, "prob_threshold": 0.8}
KEY = report_key.new_key(1)
ALGORITHMS = ("pubmed_bert", "lgbm_tfidf", "lstm")


def spec(attempt: int = 1) -> RunSpec:
    return TrainSpec(
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


def test_a_models_folder_that_is_not_mounted_is_not_made(tmp_path: Path):
    missing, log = tmp_path / "volume" / "models", tmp_path / "termination-log"
    report = OutcomeReport(spec(), key=KEY, models_dir=missing, termination_log=log)
    report.add(success())

    report.write()

    assert (missing.parent.exists(), log.exists()) == (False, True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "termination-log"


@pytest.fixture
def report(tmp_path: Path, log: Path) -> OutcomeReport:
    return OutcomeReport(spec(), key=KEY, models_dir=tmp_path, termination_log=log)


def read(tmp_path: Path) -> RunOutcome:
    return verified(spec().folder(tmp_path).outcome_file.read_text())


def verified(text: str | bytes) -> RunOutcome:
    """The content of a report with the right signature."""
    outcome = report_key.verify(RunOutcome.model_validate_json(text), KEY)
    assert outcome is not None
    return outcome


def test_both_copies_of_a_short_report_are_equal(report, tmp_path, log):
    report.add(success())
    report.write()

    assert read(tmp_path) == RunOutcome(run_id="0123456789ab", attempt=1, algorithms=(success(),))
    assert verified(log.read_text()) == read(tmp_path)


def test_an_empty_report_leaves_the_termination_log_to_the_back_end(report, tmp_path, log):
    report.write()

    assert read(tmp_path).algorithms == ()
    assert not log.exists()


def test_a_report_has_all_outcomes_so_far(report, tmp_path):
    for number in (1, 2):
        report.add(success(number))
        report.write()

    assert [end.run_log_id for end in read(tmp_path).algorithms] == [1, 2]


def test_the_failure_of_a_run_is_the_outcome_of_its_open_algorithms(report, tmp_path):
    report.add(success(1))
    report.fail_the_rest(reason=Reason.BAD_DATA, error="too few")
    report.write()

    assert [(end.success, end.error) for end in read(tmp_path).algorithms] == [(True, ""), (False, "too few"), (False, "too few")]


@pytest.mark.parametrize(
    "ends",
    [
        (success(1), success(2), success(3)),
        (success(1, warnings=("w" * 3000, "ü" * 3000)), success(2), failure(3, "é" * 9000 + "the last line")),
        tuple(failure(number, '"\\\n\0' * 50_000 + "the last line") for number in (1, 2, 3)),
    ],
    ids=["successes", "warnings and an error", "errors that JSON makes longer"],
)
def test_the_compact_report_has_every_metric_and_the_end_of_every_error(ends):
    whole = RunOutcome(run_id="0123456789ab", attempt=1, algorithms=ends, interrupted="cause " * 2000 + "in the end")

    text = compact(whole, KEY)

    assert len(text) <= MAXIMUM_BYTES
    kept = verified(text)
    for end, full in zip(kept.algorithms, ends, strict=True):
        assert (end.metrics, end.success, end.digest, end.reason) == (full.metrics, full.success, full.digest, full.reason)
        assert end.error == full.error or end.error.endswith("the last line")
    assert kept.interrupted.endswith("in the end")


def test_the_report_in_the_folder_has_complete_errors(report, tmp_path):
    report.add(failure(1, "x" * 100_000))
    report.write()

    assert len(read(tmp_path).algorithms[0].error) == 100_000


def test_a_superseded_attempt_does_not_overwrite_the_later_report(report, tmp_path):
    later = OutcomeReport(spec(attempt=2), key=KEY, models_dir=tmp_path, termination_log=None)
    later.add(success())
    later.write()

    report.give_up("superseded")
    report.write()

    assert read(tmp_path).attempt == 2


def test_the_next_attempt_overwrites_the_earlier_report(report, tmp_path):
    report.write()

    OutcomeReport(spec(attempt=2), key=KEY, models_dir=tmp_path, termination_log=None).write()

    assert read(tmp_path).attempt == 2


def test_a_disk_error_ends_no_run(tmp_path):
    (tmp_path / "team").write_text("a file in the way")

    OutcomeReport(spec(), key=KEY, models_dir=tmp_path, termination_log=tmp_path / "no such folder" / "log").write()


def test_the_folder_has_one_json_file_and_no_partial_file(report, tmp_path):
    report.write()

    assert [path.name for path in spec().folder(tmp_path).path.iterdir()] == ["outcome.json"]
    assert json.loads(spec().folder(tmp_path).outcome_file.read_text())["interrupted"] == ""


def test_a_report_can_be_removed_more_than_once(report, tmp_path):
    report.write()
    report.remove()
    report.remove()

    assert not spec().folder(tmp_path).outcome_file.exists()


@pytest.mark.parametrize("kind", [kind for kind in damage.DAMAGES if kind != "a folder"])
def test_a_damaged_report_of_another_attempt_is_replaced(report: OutcomeReport, tmp_path: Path, kind: str):
    damage.replace(spec().folder(tmp_path).outcome_file, kind)

    report.add(success())
    report.write()

    assert verified(spec().folder(tmp_path).outcome_file.read_text()).algorithms == (success(),)
