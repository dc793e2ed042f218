"""The local runner: files in the working folder, and the command."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from gregory.launch import processes
from gregory.launch.errors import TerminationTimeout
from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Observation, Rendered, Status
from gregory.runs.diagnosis import Diagnosis
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

    folder = spec.folder(tmp_path).path
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "events-1.jsonl": "attempt 1\n",
        "stderr-1.log": "end of 1\n",
        "events-2.jsonl": "attempt 2\n",
        "stderr-2.log": "end of 2\n",
    }

    assert len(runner.debug_commands(again, handle)) == 2

    runner.cleanup(spec)

    assert (list(folder.parent.iterdir()), runner.debug_commands(again, handle)) == ([], [])


def test_a_clock_that_is_a_year_ahead_removes_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".runs" / "0123456789ab").mkdir(parents=True)
    present = time.time()
    monkeypatch.setattr(time, "time", lambda: present + 365 * 86400)

    assert list(LocalRunner(installation(tmp_path)).collect_garbage(set(), keep_seconds=7 * 86400)) == []


def test_a_volume_whose_clock_is_a_year_ahead_loses_no_folder(tmp_path: Path):
    for age, run_id in ((8, "old"), (6, "new"), (366, "ended")):
        folder = tmp_path / ".runs" / run_id
        folder.mkdir(parents=True)
        os.utime(folder, times=(time.time() - age * 86400,) * 2)
    # By the clock of the database, it is a year ago.
    now = datetime.now(UTC) - timedelta(days=365)

    removed = LocalRunner(installation(tmp_path)).collect_garbage(set(), recent={"ended"}, keep_seconds=0, now=now)

    assert list(removed) == []


def test_a_run_that_hangs_is_ended_without_any_setting(tmp_path: Path):
    assert LocalRunner(installation(tmp_path)).stall_seconds == 6 * 3600


@pytest.mark.parametrize("diagnosis", [None, Diagnosis(summary="another boot")], ids=["unseen", "ended with another boot"])
def test_the_log_of_a_process_out_of_sight_is_followed_while_it_may_work(
    spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diagnosis: Diagnosis | None
):
    events = tmp_path / ".runs" / spec.run_id / "events-1.jsonl"
    events.parent.mkdir(parents=True)
    events.write_text("first\n")
    monkeypatch.setattr(processes, "observe", lambda handle: Observation(status=Status.UNKNOWN, detail="elsewhere", diagnosis=diagnosis))
    later = ["second\n", "last\n"]

    def waiting() -> bool:
        with events.open("a") as stream:
            stream.write(later.pop(0))
        return bool(later)

    elsewhere = processes.handle_of(os.getpid()).model_copy(update={"host": "elsewhere"})
    lines = list(LocalRunner(installation(tmp_path)).logs(spec, elsewhere, waiting=waiting))

    assert lines == (["first", "second", "last"] if diagnosis is None else ["first"])


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
    damage.replace(spec.folder(tmp_path).path / "events-1.jsonl", kind)

    assert list(runner.logs(spec, handle, waiting=at_once)) == []
    assert len(runner.log_tail(spec)) <= 4_000


def test_an_unfinished_last_line_is_a_line(spec, tmp_path: Path):
    runner = LocalRunner(installation(tmp_path))
    log = spec.folder(tmp_path).path / "events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("first\nSegmentation fa")

    lines = list(runner.logs(spec, processes.handle_of(os.getpid()).model_copy(update={"uid": "ended"}), waiting=at_once))

    assert lines == ["first", "Segmentation fa"]


def test_a_line_without_an_end_is_dropped(spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gregory.launch.local.runner.MAXIMUM_LINE_BYTES", 10)
    runner = LocalRunner(installation(tmp_path))
    log = spec.folder(tmp_path).path / "events-1.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("first\n" + "x" * 100 + "\nlast\n")

    lines = list(runner.logs(spec, processes.handle_of(os.getpid()).model_copy(update={"uid": "ended"}), waiting=at_once))

    assert (lines[0], lines[-1]) == ("first", "last")
    assert all(len(line) <= 20 for line in lines)
