"""One stage under supervision: real worker processes with every kind of end."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from gregory.ml.progress import Progress
from gregory.runs.reasons import Reason
from gregory.shutdown import ShutdownRequest
from job import supervise
from job import worker as worker_module
from job.supervise import StageFailed, run_stage
from job.worker import Worker
from tests import damage

ERROR = json.dumps({"kind": "bad_data", "message": "too few", "traceback": "T\ntoo few"})
EXHAUSTED = json.dumps({"kind": "out_of_memory", "message": "TensorFlow ran out of memory", "traceback": "T\n"})
WORKERS = {
    # It lives until the supervisor has begun a sample of its memory after its message, at most a minute. The sample that runs
    # during the message may be older than the interpreter of the worker.
    "good": "print(json.dumps({'message': 'half', 'fraction': 0.5}), flush=True); print('noise of a library', flush=True);"
    "samples = lambda: out.with_name('samples').stat().st_size; enough = samples() + 2;"
    "[time.sleep(0.01) for _ in zip(range(6000), iter(lambda: samples() >= enough, True))]; out.mkdir()",
    "no result": "pass",
    "abort": "import signal; os.kill(os.getpid(), signal.SIGABRT)",
    "killed": "print(json.dumps({'message': 'epoch 3/10'}), flush=True); import signal; os.kill(os.getpid(), signal.SIGKILL)",
    "mute": "sys.stderr.write('libfoo: cannot open'); os._exit(7)",
    "described": "partial = out.with_name('out.partial'); partial.mkdir(); (partial / 'error.json').write_text(ERROR); sys.exit(1)",
    "exhausted": "partial = out.with_name('out.partial'); partial.mkdir(); (partial / 'error.json').write_text(EXHAUSTED); sys.exit(1)",
    "large": "x = bytearray(300 * 2**20); print(json.dumps({'message': 'grown'}), flush=True); out.mkdir()",
    "secrets": "print(json.dumps({'message': ' '.join(sorted(os.environ))}), flush=True); out.mkdir()",
    "slow": "print(json.dumps({'message': 'working'}), flush=True); time.sleep(600)",
    # Many lines that are read after the end of the process.
    "chatty": "[print(json.dumps({'message': f'{number}'}), flush=True) for number in range(500)]; time.sleep(600)",
    "no output": "print(json.dumps({'message': 'working'}), flush=True); os.close(1); time.sleep(600)",
    "parent": "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(json.dumps({'message': 'working'}), flush=True); time.sleep(600)",
    # Its child has a session of its own and keeps the pipe.
    "left behind": "import subprocess; code = 'import time; time.sleep(600)';"
    "child = subprocess.Popen([sys.executable, '-c', code], start_new_session=True);"
    "print(json.dumps({'message': str(child.pid)}), flush=True); out.mkdir()",
}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a worker of this test instead of `python -m gregory.ml.stages`. `seen` has its progress messages."""
    folder = tmp_path / "train-lstm"
    (folder / "in").mkdir(parents=True)
    seen: list[Progress] = []
    samples = folder / "samples"
    samples.touch()
    sample = Worker.sample

    def counted(worker: Worker) -> None:
        sample(worker)
        with samples.open("ab") as file:
            file.write(b".")

    monkeypatch.setattr(Worker, "sample", counted)

    def run(name: str, *, shutdown: ShutdownRequest | None = None, on_progress=lambda progress: None):
        names = f"ERROR = {ERROR!r}; EXHAUSTED = {EXHAUSTED!r}; out = pathlib.Path({str(folder / 'out')!r})"
        code = f"import json, os, pathlib, sys, time; {names}; {WORKERS[name]}"
        monkeypatch.setattr(supervise, "worker_command", lambda stage, folder: [sys.executable, "-c", code])

        def report(progress: Progress) -> None:
            seen.append(progress)
            on_progress(progress)

        return run_stage("train", folder, shutdown=shutdown or ShutdownRequest(), overridden=ShutdownRequest(), report=report)

    run.seen = seen
    return run


def test_a_good_stage_reports_its_progress_and_its_resources(stage):
    usage = stage("good")

    assert stage.seen == [Progress(message="half", fraction=0.5)]
    assert usage.seconds > 0
    assert usage.peak_bytes > 1_000_000


def test_the_peak_memory_is_that_of_the_worker_and_not_of_its_parent(stage):
    ballast = bytearray(200 * 2**20)

    small = stage("good").peak_bytes

    assert len(ballast) > 0
    assert small < 100 * 2**20


def test_the_peak_memory_of_a_short_worker_is_measured(stage):
    assert stage("large").peak_bytes > 300 * 2**20


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("no result", Reason.ERROR, "the worker exited with code 0 and no explanation in stage train-lstm after "),
        ("abort", Reason.KILLED, "the worker was killed by signal 6 (SIGABRT) in stage train-lstm after "),
        ("killed", Reason.KILLED, "the worker was killed by signal 9 (SIGKILL) in stage train-lstm after "),
        ("mute", Reason.ERROR, "the worker exited with code 7 and no explanation in stage train-lstm after "),
    ],
)
def test_the_exit_code_describes_a_stage_without_an_error_file(stage, name: str, reason: Reason, message: str):
    with pytest.raises(StageFailed) as failed:
        stage(name)

    assert failed.value.reason is reason
    assert str(failed.value).startswith(message)
    assert "; peak memory " in str(failed.value)


def test_the_error_has_the_last_progress_and_the_end_of_standard_error(stage):
    with pytest.raises(StageFailed) as killed:
        stage("killed")
    assert "at: epoch 3/10;" in killed.value.error

    with pytest.raises(StageFailed) as mute:
        stage("mute")
    assert mute.value.error.endswith("last lines of its standard error:\nlibfoo: cannot open")


def test_the_error_file_of_a_stage_is_used(stage):
    with pytest.raises(StageFailed) as failed:
        stage("described")

    assert (failed.value.reason, str(failed.value), failed.value.error) == (Reason.BAD_DATA, "too few", "T\ntoo few")


def test_a_new_oom_kill_in_the_counter_means_out_of_memory(stage, monkeypatch: pytest.MonkeyPatch):
    counts = iter([3, 4])
    monkeypatch.setattr(
        supervise.resources, "memory_events", lambda: supervise.resources.MemoryEvents(oom_kills=next(counts), limit=512 * 2**20)
    )

    with pytest.raises(StageFailed) as failed:
        stage("killed")

    assert failed.value.reason is Reason.OUT_OF_MEMORY
    assert str(failed.value).startswith("out of memory: the kernel killed the worker (signal 9, SIGKILL) in stage train-lstm after ")
    assert str(failed.value).endswith("; the limit is 512 MiB")


def test_out_of_memory_in_a_library_has_peak_and_limit(stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervise.resources, "memory_events", lambda: supervise.resources.MemoryEvents(oom_kills=0, limit=512 * 2**20))

    with pytest.raises(StageFailed) as failed:
        stage("exhausted")

    assert failed.value.reason is Reason.OUT_OF_MEMORY
    assert re.fullmatch(
        r"TensorFlow ran out of memory; in stage train-lstm after \d+ s, at: starting; peak memory \d+ MiB; the limit is 512 MiB",
        str(failed.value),
    )
    assert failed.value.error == f"T\n{failed.value}"


def test_the_resources_of_a_finished_stage_are_kept(stage, tmp_path: Path):
    usage = stage("good")

    assert supervise.read_usage(tmp_path / "train-lstm") == usage
    assert supervise.read_usage(tmp_path) == supervise.Usage(seconds=0.0, peak_bytes=0)


def test_a_shutdown_request_ends_the_worker_and_is_the_reason(stage):
    shutdown = ShutdownRequest()

    with pytest.raises(StageFailed) as failed:
        stage("slow", shutdown=shutdown, on_progress=lambda progress: shutdown.request("interrupted by signal 15 (SIGTERM)"))

    assert failed.value.reason is Reason.INTERRUPTED
    assert str(failed.value).startswith("interrupted by signal 15 (SIGTERM) in stage train-lstm after ")
    assert "at: working" in str(failed.value)


@pytest.mark.parametrize("phase", ["slow", "chatty", "no output", "parent"])
def test_a_shutdown_request_ends_the_worker_in_every_phase(stage, phase: str):
    """The worker is reaped once, so its end is never an error of the supervisor."""
    shutdown = ShutdownRequest()

    def request(progress: Progress) -> None:
        if not shutdown.requested:
            # Meanwhile the worker writes the rest of its lines.
            time.sleep(0.3)
            shutdown.request("interrupted by signal 15 (SIGTERM)")

    began = time.monotonic()
    with pytest.raises(StageFailed) as failed:
        stage(phase, shutdown=shutdown, on_progress=request)

    assert failed.value.reason is Reason.INTERRUPTED
    assert time.monotonic() - began < 300


def test_a_shutdown_request_before_the_start_ends_the_worker(stage):
    shutdown = ShutdownRequest()
    shutdown.request("interrupted by signal 15 (SIGTERM)")

    # A peak of memory was not measured.
    with pytest.raises(StageFailed, match=r"^interrupted by signal 15 \(SIGTERM\) in stage train-lstm after \d+ s, at: starting$"):
        stage("slow", shutdown=shutdown)


def test_the_end_of_the_worker_is_the_end_of_its_stage(stage):
    """A process that it left behind may hold its standard output."""
    began = time.monotonic()

    stage("left behind")

    assert time.monotonic() - began < 300
    os.kill(int(stage.seen[0].message), signal.SIGKILL)


def test_an_error_of_the_supervisor_leaves_no_worker(stage, monkeypatch: pytest.MonkeyPatch):
    workers: list[Worker] = []
    sample = Worker.sample
    monkeypatch.setattr(Worker, "sample", lambda worker: workers.append(worker) or sample(worker))

    def fail(progress: Progress) -> None:
        raise OSError("a defect")

    with pytest.raises(OSError, match="a defect"):
        stage("slow", on_progress=fail)

    assert workers[0].exit_code == -9
    with pytest.raises(ProcessLookupError):
        os.kill(workers[0]._pid, 0)


def test_a_worker_that_survives_its_kill_does_not_hold_up_the_end(stage, monkeypatch: pytest.MonkeyPatch):
    """A process in a call to a file server that hangs ends when the call returns."""
    shutdown, survivors = ShutdownRequest(), []
    kill = Worker._kill_group
    monkeypatch.setattr(Worker, "_kill_group", lambda worker: survivors.append(worker))
    monkeypatch.setattr(worker_module, "KILL_SECONDS", 0.2)

    with pytest.raises(StageFailed) as failed:
        stage("slow", shutdown=shutdown, on_progress=lambda progress: shutdown.request("interrupted by signal 15 (SIGTERM)"))

    assert failed.value.reason is Reason.INTERRUPTED
    (survivor,) = survivors
    kill(survivor)
    os.waitpid(survivor._pid, 0)


def test_a_worker_gets_no_credentials(stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "secret")
    monkeypatch.setenv("GREGORY_RUN_SPEC", "{}")

    stage("secrets")

    names = stage.seen[0].message.split()
    assert "PATH" in names
    assert "HF_HUB_OFFLINE" in names
    assert not {"POSTGRES_PASSWORD", "GREGORY_RUN_SPEC"} & set(names)


def test_the_real_worker_command_is_the_stages_module(tmp_path: Path):
    assert supervise.worker_command("train", tmp_path)[1:] == [
        "-m", "gregory.ml.stages", "train", "--in", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--lifeline",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", damage.DAMAGES)
def test_a_damaged_usage_file_is_no_usage(tmp_path: Path, kind: str):
    damage.replace(tmp_path / supervise.USAGE_FILE, kind)

    assert supervise.read_usage(tmp_path) == supervise.Usage(seconds=0.0, peak_bytes=0)
