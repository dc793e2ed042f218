"""The local runner: files in the working folder, and the command."""

import subprocess
import sys
from pathlib import Path

import pytest

from gregory.launch import processes
from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Observation, Rendered, Status
from tests.launch.example_run import at_once
from tools.launch_installation import installation


def test_log_files_of_every_attempt_remain_until_cleanup(spec, tmp_path: Path):
    runner = LocalRunner(installation(tmp_path))
    code = "import sys; print('attempt', sys.argv[1], flush=True); sys.exit('end of ' + sys.argv[1])"
    for attempt in (1, 2):
        again = spec.model_copy(update={"attempt": attempt})
        handle = runner.submit(Rendered(spec=again, request={"command": [sys.executable, "-c", code, str(attempt)], "environment": {}}))
        list(runner.logs(again, handle, waiting=at_once))
        assert runner.observe([handle])[0].text.endswith(f"its log:\nend of {attempt}")

    folder = tmp_path / ".runs" / spec.run_id
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "events-1.jsonl": "attempt 1\n",
        "stderr-1.log": "end of 1\n",
        "events-2.jsonl": "attempt 2\n",
        "stderr-2.log": "end of 2\n",
    }

    runner.cleanup(spec)

    assert list((tmp_path / ".runs").iterdir()) == []


def test_a_process_that_ends_before_its_signal_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    handle = processes.handle_of(ended.pid)
    ended.wait()
    monkeypatch.setattr(processes, "observe", lambda handle: Observation(status=Status.ALIVE, detail="it runs"))

    LocalRunner(installation(tmp_path)).cancel(handle, grace_seconds=1)


def test_the_command_ends_with_the_process_that_started_it(spec, tmp_path: Path):
    request = LocalRunner(installation(tmp_path)).render(spec).request

    assert request["command"] == [sys.executable, "-m", "job"]
    assert (request["environment"]["GREGORY_EVENT_FORMAT"], request["environment"]["GREGORY_LIFELINE"]) == ("json", "1")
