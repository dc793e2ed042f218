"""Processes that a server forks: each is as if it had begun alone."""

import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from gregory.forking import client
from gregory.forking.protocol import COMMAND_BYTES, Kind, is_known
from gregory.launch.errors import PreconditionFailed
from gregory.launch.local import early, starter
from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Status
from gregory.ml.progress import Progress
from gregory.ml.stages import environment
from gregory.ml.stages.contract import REQUEST
from gregory.ml.stages.environment import stage_environment, worker_command
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle
from gregory.shutdown import ShutdownRequest
from job import forked_stage
from job.supervise import StageFailed, Usage, run_stage
from tests.end_to_end.trainings import wait_for
from tests.ml.test_stage_process import summarise_request
from tools.installation import REPOSITORY
from tools.launch_installation import installation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has servers")
PR_SET_CHILD_SUBREAPER = 36
PRETENDED = "tests.forking.pretended"
# No file has it, so memory has it only from a variable.
SECRET = secrets.token_hex(16)


def serving(*modules: str) -> client.Server:
    """A server that imports these modules."""
    server = client.start_server(modules, folder=REPOSITORY, environment=stage_environment(os.environ))
    assert server is not None
    return server


def make_ready(monkeypatch: pytest.MonkeyPatch, modules: Sequence[str], variables: Mapping[str, str]) -> None:
    """As a command does that forks its server."""
    server = serving(*modules)
    monkeypatch.setattr(early, "server", server)
    monkeypatch.setattr(early, "run", starter.request_run(server, variables))


def children(word: str) -> list[psutil.Process]:
    """The living children of this process with this word in their command line. Other tests have other children."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            found += [process] if word in process.cmdline() else []
    return found


@pytest.fixture
def as_a_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process adopts the stages of its server, as a run does."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    monkeypatch.setattr(client, "own", None)
    yield
    if client.own is not None:
        client.own.close()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def stage(as_a_run: None, tmp_path: Path) -> Callable[..., Usage]:
    """Run a pretended stage, forked by the server of this process."""
    seen: list[Progress] = []

    def run(what: str, **options: Any) -> Usage:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}-{what}"
        (folder / "in").mkdir(parents=True)
        (folder / "in" / REQUEST).write_text(summarise_request(bundle=f"/{what}").model_dump_json())
        run.folder = folder
        options = {"shutdown": ShutdownRequest(), "overridden": ShutdownRequest(), "report": seen.append, **options}
        return run_stage("summarise", folder, **options)

    run.seen = seen
    client.own = serving(PRETENDED)
    return run


def test_a_stage_is_as_if_it_had_begun_alone(stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", SECRET)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    mask = os.umask(0o027)
    try:
        stage("facts")
    finally:
        os.umask(mask)

    found = json.loads(stage.seen[0].message)
    assert found.pop("environment") == stage_environment(os.environ)
    assert found.pop("command") == worker_command("summarise", stage.folder)
    assert found == {
        "parent": os.getpid(), "leads its session": True, "core": [0, 0], "umask": 0o027, "readable": 1,
        "sockets and memory files": 0, "libraries": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("what", "reason", "message"),
    [
        ("abort", Reason.KILLED, "the worker was killed by signal 6 (SIGABRT) in stage 0-abort after "),
        ("exit", Reason.ERROR, "the worker exited with code 7 and no explanation in stage 0-exit after "),
    ],
)
def test_a_stage_that_ends_leaves_its_server_usable(stage, what: str, reason: Reason, message: str):
    with pytest.raises(StageFailed) as failed:
        stage(what)
    server = client.own
    stage("facts", algorithm="lgbm_tfidf")

    assert (failed.value.reason, str(failed.value)[: len(message)]) == (reason, message)
    assert (client.own, json.loads(stage.seen[0].message)["libraries"]) == (server, ["lightgbm", "sklearn"])


def test_networks_have_a_server_of_their_own(stage, monkeypatch: pytest.MonkeyPatch):
    """It has imported TensorFlow and has one thread, as before each fork. No other stage has the memory of TensorFlow."""
    monkeypatch.setattr(forked_stage, "_of_networks", None)
    peaks = [stage("facts", algorithm=algorithm).peak_bytes for algorithm in ("lstm", "lgbm_tfidf", "lstm")]

    libraries = [json.loads(progress.message)["libraries"] for progress in stage.seen]
    assert libraries == [["keras", "sklearn", "tensorflow"], ["lightgbm", "sklearn"], ["keras", "sklearn", "tensorflow"]]
    assert peaks[1] < min(peaks[0], peaks[2])


@pytest.mark.parametrize("device", ["nvidia0", "kfd", "dxg"])
def test_beside_a_gpu_only_lightgbm_is_forked(stage, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / device).touch()
    monkeypatch.setattr(environment, "DEVICES", tmp_path / "dev")

    stage("facts", algorithm="lgbm_tfidf")

    # It begins alone, so it has the real stages.
    with pytest.raises(StageFailed, match=r"No such file or directory: '.*/in/articles.jsonl'"):
        stage("facts")


def test_the_peak_memory_is_that_of_the_stage(stage):
    large, small = stage("large").peak_bytes, stage("facts").peak_bytes

    assert large > 300 * 2**20 > 150 * 2**20 > small > 2**20


def test_a_stage_survives_the_kill_of_its_server(stage):
    """The next one begins without a server, so it has the real stages."""

    def kill(progress: Progress) -> None:
        (server,) = children("gregory.forking")
        server.kill()
        wait_for(lambda: server.status() == psutil.STATUS_ZOMBIE)
        (stage.folder / "in" / "go").touch()

    stage("wait", report=kill)

    with pytest.raises(StageFailed, match=r"No such file or directory: '.*/in/articles.jsonl'"):
        stage("facts")


def test_a_shutdown_request_ends_a_stage(stage):
    shutdown = ShutdownRequest()

    with pytest.raises(StageFailed) as failed:
        stage("wait", shutdown=shutdown, report=lambda progress: shutdown.request("interrupted by signal 15 (SIGTERM)"))

    assert failed.value.reason is Reason.INTERRUPTED
    assert children("gregory.ml.stages") == []


def test_a_server_without_requests_ends(as_a_run: None):
    server = serving("tests.forking.impatient")

    wait_for(server.has_ended)


def asked(server: client.Server, **options: Any) -> client.Forked | None:
    """The answer of a server to the request of a stage."""
    with Path(os.devnull).open("wb") as nothing:
        output = nothing.fileno()
        command = worker_command("summarise", Path("/x"))
        return server.fork(command, kind=Kind.STAGE, environment={}, stdout=output, stderr=output, **options)


def test_a_server_with_threads_forks_nothing(as_a_run: None):
    server = serving("tests.forking.with_a_thread")

    assert asked(server) is None
    server.close()


def test_a_request_that_nobody_needs_ends_its_server(as_a_run: None):
    server = serving(PRETENDED)

    assert asked(server, load=("tests.forking.pretended:wait_for_ever",), needed=lambda: False) is None
    assert server.has_ended()


@pytest.mark.parametrize(
    "command",
    [
        ["python", "-m", "job"],
        [sys.executable, "-c", "pass"],
        [sys.executable, "-m", "pip"],
        [sys.executable, "-m", "job", "x" * COMMAND_BYTES],
    ],
)
def test_any_other_program_begins_alone(command: list[str]):
    assert not is_known(command)


class TestRun:
    """A run of the local runner, forked by its server. The command may have forked the server, and it was made ready then."""

    @pytest.fixture(params=[False, True], ids=["forked", "made ready"])
    def is_ready(self, request: pytest.FixtureRequest) -> bool:
        """Whether the run had its set-up before its specification."""
        return request.param

    @pytest.fixture
    def run(
        self, spec, is_ready: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> Iterator[tuple[LocalRunner, RunHandle, dict[str, Any]]]:
        """The runner, the handle of the run and what the run has told."""
        modules = ("job.preload", PRETENDED, *getattr(request, "param", ()))
        monkeypatch.setattr(starter, "PRELOADED", modules)
        here = installation(tmp_path, POSTGRES_PASSWORD=SECRET, PYTHONPATH=str(REPOSITORY))
        if is_ready:
            make_ready(monkeypatch, modules, here.inherited)
        runner = LocalRunner(here)
        with suppress(PreconditionFailed):
            # There is no bundle. The server is prepared before.
            runner.check([spec])
        ready = runner._starter._ready
        handle = runner.submit(runner.render(spec))
        assert (ready is not None and ready.process.pid == int(handle.name)) is is_ready
        events = spec.folder(tmp_path).path / "events-1.jsonl"
        yield runner, handle, json.loads(wait_for(lambda: events.read_text().endswith("\n") and events.read_text()))
        runner.cancel(handle, grace_seconds=30)

    def test_it_has_its_specification(self, run, spec, is_ready: bool):
        _, _, told = run

        assert told["environment"]["GREGORY_RUN_SPEC"] == spec.model_dump_json()
        assert ("DJANGO_SETTINGS_MODULE" in told["environment"]) is is_ready

    def test_it_is_hidden_and_alone_has_its_variables(self, run):
        _, handle, told = run
        process = psutil.Process(int(handle.name))

        assert (told["secret"], told["readable"], told["core"], told["leads its session"]) == (SECRET, 0, [0, 0], True)
        assert told["command"] == [sys.executable, "-m", "job"]
        (server,) = process.children()
        others = {server.pid, *(parent.pid for parent in process.parents() if "gregory.forking" in parent.cmdline())}
        assert len(others) == 3
        for pid in others:
            # It is hidden: only root can read it.
            with suppress(PermissionError):
                assert SECRET not in Path(f"/proc/{pid}/environ").read_text()

    @pytest.mark.root
    def test_no_other_process_has_a_variable_of_it_in_its_memory(self, run):
        _, handle, _ = run
        process = psutil.Process(int(handle.name))
        others = [*process.children(), *(parent for parent in process.parents() if "gregory.forking" in parent.cmdline())]

        assert SECRET.encode() in memory(process.pid)
        assert [one.pid for one in others if SECRET.encode() in memory(one.pid)] == []

    @pytest.mark.parametrize("run", [["tests.forking.impatient"]], indirect=True)
    def test_it_keeps_its_server_and_not_that_of_its_stages(self, run):
        _, handle, _ = run
        process = psutil.Process(int(handle.name))

        wait_for(lambda: [one.status() for one in process.children()] == [psutil.STATUS_ZOMBIE])

        assert [parent.pid for parent in process.parents() if parent.pid == os.getpid()] == [os.getpid()]

    def test_its_end_is_told(self, run):
        runner, handle, _ = run
        os.kill(int(handle.name), signal.SIGKILL)

        observation = wait_for(lambda: (found := runner.observe([handle])[0]).status is Status.TERMINATED and found)

        assert observation.diagnosis.text == "the run's process was killed by signal 9 (SIGKILL)"

    def test_it_survives_the_kill_of_its_server_and_of_the_process_that_tells_its_end(self, run):
        runner, handle, _ = run
        for parent in psutil.Process(int(handle.name)).parents():
            if "gregory.forking" in parent.cmdline():
                parent.kill()

        told = wait_for(lambda: runner.observe([handle])[0].detail.endswith("runs") and runner._children[handle.name].process.untold)
        alive = runner.observe([handle])[0].status
        os.kill(int(handle.name), signal.SIGKILL)
        wait_for(lambda: runner.observe([handle])[0].status is Status.TERMINATED)

        assert (told, alive) == (True, Status.ALIVE)
        assert runner.observe([handle])[0].text.endswith("ended without a report")


@pytest.mark.parametrize(("password", "runs"), [("another", 1), (SECRET, 2)], ids=["other variables", "several runs"])
def test_a_run_that_was_made_ready_in_vain_ends(spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, runs: int):
    make_ready(monkeypatch, ("job.preload", PRETENDED), {"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": password})
    runner = LocalRunner(installation(tmp_path, POSTGRES_PASSWORD=SECRET, PYTHONPATH=str(REPOSITORY)))
    runner._starter.prepare(folder=REPOSITORY, environment={})
    ready = psutil.Process(runner._starter._ready.process.pid)
    if runs > 1:
        runner._starter.expect(["lgbm_tfidf"])

    handle = runner.submit(runner.render(spec))

    ready.wait(60)
    assert int(handle.name) != ready.pid
    runner.cancel(handle, grace_seconds=30)


def memory(pid: int) -> bytes:
    """All that a process can write to."""
    content = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights, *_ = line.split()
            start, end = (int(address, 16) for address in area.split("-"))
            if rights.startswith("rw"):
                file.seek(start)
                content.append(file.read(end - start))
    return b"".join(content)


def test_the_server_of_a_runner_imports_neither_settings_nor_models():
    code = "import job.preload, sys; print(sorted({'gregory.settings', 'gregory.models', 'numpy'} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")
