"""Ended processes, as `subprocess` describes them, and their diagnosis."""

import pytest

from gregory.launch.local import diagnose
from gregory.launch.runner import Status
from gregory.runs.reasons import Reason


@pytest.mark.parametrize(
    ("code", "log_tail", "reason", "detail"),
    [
        (-9, "", Reason.KILLED, "the run's process was killed by signal 9 (SIGKILL)"),
        (3, "", None, "the run's process exited with code 3 without a report"),
        (3, "bad", None, "the run's process exited with code 3 without a report; last lines of its standard error:\nbad"),
    ],
)
def test_a_process(code: int, log_tail: str, reason: Reason | None, detail: str):
    observation = diagnose.ended_process(code, log_tail)

    assert (observation.status, observation.reason, observation.exit_code, observation.detail) == (Status.TERMINATED, reason, code, detail)
