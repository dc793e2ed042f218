"""Ended containers, as `docker inspect` describes them, and their diagnosis."""

from typing import Any

import pytest

from gregory.launch.docker import diagnose
from gregory.runs.reasons import Reason

CONTAINER: dict[str, Any] = {
    "Name": "/gregory-train-7-a1",
    "HostConfig": {"Memory": 512 * 2**20},
    "State": {"Status": "exited", "ExitCode": 0, "OOMKilled": False, "Error": ""},
}


@pytest.mark.parametrize(
    ("state", "memory", "reason", "text"),
    [
        ({}, 0, None, "container gregory-train-7-a1 ended with exit code 0 and left no report"),
        ({"ExitCode": 2}, 0, None, "container gregory-train-7-a1 ended with exit code 2 and left no report"),
        (
            {"ExitCode": 137, "OOMKilled": True},
            512 * 2**20,
            Reason.OUT_OF_MEMORY,
            "OOMKilled: the kernel ended container gregory-train-7-a1 for lack of memory: its memory limit is 512 MiB; "
            "raise GREGORY_DOCKER_MEMORY",
        ),
        (
            {"ExitCode": 137, "OOMKilled": True},
            0,
            Reason.OUT_OF_MEMORY,
            "OOMKilled: the kernel ended container gregory-train-7-a1 for lack of memory: the Docker host has no more memory",
        ),
        (
            {"ExitCode": 137},
            0,
            Reason.KILLED,
            "container gregory-train-7-a1 was ended by signal 9 (SIGKILL), by hand or with the Docker daemon",
        ),
        (
            {"ExitCode": 255, "Error": "the shim is gone"},
            0,
            None,
            "container gregory-train-7-a1 ended with exit code 255: the shim is gone",
        ),
        (
            {"ExitCode": 255},
            0,
            None,
            "container gregory-train-7-a1 ended while the Docker host or its daemon did not run (exit code 255)",
        ),
        ({"Status": "created"}, 0, Reason.NOT_STARTED, "container gregory-train-7-a1 was created and never started"),
    ],
)
def test_diagnosis_of_an_ended_container(state: dict[str, Any], memory: int, reason: Reason | None, text: str):
    diagnosis = diagnose.ended_container({**CONTAINER, "HostConfig": {"Memory": memory}, "State": {**CONTAINER["State"], **state}}, "")

    assert (diagnosis.reason, diagnosis.text) == (reason, text)


def test_the_log_tail_follows_the_summary():
    diagnosis = diagnose.ended_container(CONTAINER, "Traceback\nValueError")

    assert diagnosis.text.endswith("left no report\nlast lines of its log:\nTraceback\nValueError")
