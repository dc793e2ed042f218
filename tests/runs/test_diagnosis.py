"""A diagnosis and the text that a row gets from it."""

import pytest

from gregory.launch.runner import Observation, Status
from gregory.runs.diagnosis import LOG_TAIL_CHARACTERS, Diagnosis, log_tail_of
from gregory.runs.reasons import Reason


def test_the_text_has_summary_remedy_and_log_tail_in_this_order():
    diagnosis = Diagnosis(summary="OOMKilled: the limit is 1 GiB", remedy="raise it", reason=Reason.OUT_OF_MEMORY, log_tail="one\ntwo")

    assert diagnosis.headline == "OOMKilled: the limit is 1 GiB; raise it"
    assert diagnosis.text == "OOMKilled: the limit is 1 GiB; raise it\nlast lines of its log:\none\ntwo"


def test_the_first_line_is_complete_in_itself():
    """Lists and summaries print the first line of a text only."""
    diagnosis = Diagnosis(summary="exited with code 3", log_tail="one\ntwo")

    assert diagnosis.text.splitlines()[0] == "exited with code 3"


def test_a_part_that_is_empty_leaves_no_separator():
    assert Diagnosis(summary="gone").text == "gone"
    assert Diagnosis(summary="").after("every model was complete").text == "every model was complete"


def test_an_earlier_cause_is_in_front_and_a_further_fact_before_the_remedy():
    diagnosis = Diagnosis(summary="evicted", remedy="stop the drain", log_tail="end").after("SIGTERM").noting("3 attempts")

    assert diagnosis.text == "SIGTERM; evicted; 3 attempts; stop the drain\nlast lines of its log:\nend"


@pytest.mark.parametrize("log", [b"\xff" + b"a" * LOG_TAIL_CHARACTERS + b"\n", "b" + "a" * (LOG_TAIL_CHARACTERS - 1) + "\n"])
def test_the_head_of_a_long_log_is_cut(log: bytes | str):
    assert log_tail_of(log) == "a" * (LOG_TAIL_CHARACTERS - 1)


def test_bytes_that_are_no_text_are_replaced():
    assert log_tail_of(b"\xfcber\n") == "\N{REPLACEMENT CHARACTER}ber"


def test_a_terminated_run_is_not_observed_without_a_diagnosis():
    with pytest.raises(ValueError, match=r"^the observation of a terminated run has no diagnosis$"):
        Observation(status=Status.TERMINATED, detail="gone")
