"""The signature of an outcome report: only the process with the key can make it, and a release without keys reads past it."""

import pytest

from gregory.runs import report_key
from gregory.runs.spec import AlgorithmOutcome, RunOutcome

KEY = report_key.new_key(2)
OUTCOME = RunOutcome(
    run_id="0123456789ab",
    attempt=2,
    algorithms=(
        AlgorithmOutcome(algorithm="lstm", run_log_id=7, version="20260101", success=True, metrics={"test_f1": 0.1 + 0.2}, seconds=1.5),
    ),
)


def read_again(outcome: RunOutcome) -> RunOutcome:
    return RunOutcome.model_validate_json(outcome.model_dump_json(exclude_defaults=True))


def test_a_signed_report_is_the_same_after_it_was_read():
    assert report_key.verify(read_again(report_key.sign(OUTCOME, KEY)), KEY) == OUTCOME


@pytest.mark.parametrize(
    "forged",
    [
        OUTCOME,
        report_key.sign(OUTCOME, report_key.new_key(2)),
        report_key.sign(report_key.sign(OUTCOME, KEY), report_key.new_key(2)),
        report_key.sign(OUTCOME, KEY).model_copy(update={"interrupted": "no database"}),
        report_key.sign(OUTCOME, KEY).model_copy(update={"attempt": 3}),
    ],
    ids=["no signature", "another key", "two signatures", "another text", "another attempt"],
)
def test_any_other_report_is_refused(forged: RunOutcome):
    assert report_key.verify(read_again(forged), KEY) is None


def test_a_changed_metric_is_refused():
    signed = report_key.sign(OUTCOME, KEY).model_dump_json().replace("0.30000000000000004", "0.999")

    assert report_key.verify(RunOutcome.model_validate_json(signed), KEY) is None


def test_a_release_without_keys_finds_the_outcomes_by_their_rows():
    by_row = {end.run_log_id: end for end in read_again(report_key.sign(OUTCOME, KEY)).algorithms}

    assert by_row.pop(report_key.SIGNATURE_ROW).success is False
    assert by_row == {7: OUTCOME.algorithms[0]}


def test_a_key_belongs_to_one_attempt():
    assert report_key.is_of(KEY, 2)
    assert not report_key.is_of(KEY, 1)
    assert not report_key.is_of("", 1)
    assert report_key.new_key(2) != KEY
