"""Ended processes, as `subprocess` describes them, and their diagnosis."""

import pytest

from gregory.launch.local import diagnose
from gregory.runs.reasons import Reason


@pytest.mark.parametrize(
    ("code", "log_tail", "reason", "text"),
    [
        (-9, "", Reason.KILLED, "the run's process was killed by signal 9 (SIGKILL)"),
        (3, "", None, "the run's process exited with code 3 without a report"),
        (3, "bad", None, "the run's process exited with code 3 without a report\nlast lines of its log:\nbad"),
    ],
)
def test_diagnosis_of_an_ended_process(code: int, log_tail: str, reason: Reason | None, text: str):
    diagnosis = diagnose.ended_process(code, log_tail)

    assert (diagnosis.reason, diagnosis.exit_code, diagnosis.text) == (reason, code, text)
