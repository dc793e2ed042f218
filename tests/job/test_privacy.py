"""What another process of the same user learns about the process of a run."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gregory.launch import processes
from gregory.launch.runner import Status
from tools.installation import REPOSITORY

WAITS = "from gregory import privacy; privacy.hide_memory(); print(flush=True); import sys; sys.stdin.read()"
# Root may read every process. Without these capabilities it is a user like any other: CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON.
UNPRIVILEGED = (
    "import ctypes, os, sys; [ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) for capability in (19, 21, 38)];"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
SECRET = {"POSTGRES_PASSWORD": "of-the-database"}


@pytest.fixture
def private() -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps itself private, with a password among its variables."""
    environment = {**os.environ, **SECRET, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", UNPRIVILEGED, "-c", WAITS]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process
        process.kill()


def read_by_its_user(path: str) -> str:
    code = f"print(open({path!r}, 'rb').read()[:9])"
    done = subprocess.run([sys.executable, "-c", UNPRIVILEGED, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout or done.stderr.splitlines()[-1]


@pytest.mark.parametrize("file", ["environ", "mem", "maps"])
def test_no_process_of_its_user_reads_its_memory(private, file: str):
    path = f"/proc/{private.pid}/{file}"

    assert read_by_its_user(path) == f"PermissionError: [Errno 13] Permission denied: '{path}'"


def test_a_run_is_private_before_it_reads_its_variables():
    code = "from job.__main__ import main; import ctypes; print(main(), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    environment = {name: value for name, value in os.environ.items() if name != "GREGORY_RUN_SPEC"} | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout == "2 0\n"


def test_its_life_and_its_memory_are_observed(private):
    handle = processes.handle_of(private.pid)
    status = read_by_its_user(f"/proc/{private.pid}/status")
    alive = processes.observe(handle).status
    private.kill()
    private.wait()

    assert (status, alive, processes.observe(handle).status) == ("b'Name:\\tpyt'\n", Status.ALIVE, Status.TERMINATED)


def test_its_stage_writes_no_core_file_and_is_measured():
    code = (
        "import resource, sys; from gregory import privacy; from job.worker import Worker; privacy.hide_memory();"
        "child = 'import resource; x = bytearray(2 ** 26); print(resource.getrlimit(resource.RLIMIT_CORE), flush=True); input()';"
        "worker = Worker([sys.executable, '-c', child], environment={}, errors=sys.stderr.buffer).__enter__();"
        "lines = worker.lines(worker.sample); print(next(lines).decode());"
        "worker.sample(); print(worker.peak_bytes > 2 ** 26); worker.__exit__()"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", UNPRIVILEGED, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("(0, 0)\nTrue\n", "")
