"""The local runner: files in the working folder, and the command."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gregory.launch import processes
from gregory.launch.errors import TerminationTimeout
from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Observation, Rendered, Status
from tests import damage
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


def test_a_process_that_survives_its_kill_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It waits in the kernel, for example for a file server that hangs."""
    handle = processes.handle_of(os.getpid())

    def still_there(process: psutil.Process, seconds: float | None = None) -> None:
        assert seconds is not None, "it waits for ever"
        raise psutil.TimeoutExpired(seconds, process.pid)

    for name, replacement in {"terminate": lambda self: None, "kill": lambda self: None, "wait": still_there}.items():
        monkeypatch.setattr(psutil.Process, name, replacement)

    with pytest.raises(TerminationTimeout, match=rf"^process {os.getpid()} was killed, and the kernel does not end it$"):
        LocalRunner(installation(tmp_path)).cancel(handle, grace_seconds=1)


def test_the_command_ends_with_the_process_that_started_it(spec, tmp_path: Path):
    request = LocalRunner(installation(tmp_path)).render(spec).request

    assert request["command"] == [sys.executable, "-m", "job"]
    assert (request["environment"]["GREGORY_EVENT_FORMAT"], request["environment"]["GREGORY_LIFELINE"]) == ("json", "1")


@pytest.mark.parametrize("kind", ["a pipe", "a link to a device", "a folder"])
def test_another_object_in_the_place_of_a_log_gives_no_lines(spec, tmp_path: Path, kind: str):
    runner = LocalRunner(installation(tmp_path))
    handle = processes.handle_of(os.getpid()).model_copy(update={"uid": "ended"})
    damage.replace(tmp_path / ".runs" / spec.run_id / "events-1.jsonl", kind)

    assert list(runner.logs(spec, handle, waiting=at_once)) == []
    assert len(runner.log_tail(spec)) <= 4_000


def test_an_unfinished_last_line_is_a_line(spec, tmp_path: Path):
    runner = LocalRunner(installation(tmp_path))
    log = tmp_path / ".runs" / spec.run_id / "events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("first\nSegmentation fa")

    lines = list(runner.logs(spec, processes.handle_of(os.getpid()).model_copy(update={"uid": "ended"}), waiting=at_once))

    assert lines == ["first", "Segmentation fa"]


def test_a_line_without_an_end_is_dropped(spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gregory.launch.local.runner.MAXIMUM_LINE_BYTES", 10)
    runner = LocalRunner(installation(tmp_path))
    log = tmp_path / ".runs" / spec.run_id / "events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("first\n" + "x" * 100 + "\nlast\n")

    lines = list(runner.logs(spec, processes.handle_of(os.getpid()).model_copy(update={"uid": "ended"}), waiting=at_once))

    assert (lines[0], lines[-1]) == ("first", "last")
    assert all(len(line) <= 20 for line in lines)
