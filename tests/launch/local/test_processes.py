"""Handles of processes on this machine, in other pid namespaces, of another boot and of other accounts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gregory.launch import processes
from gregory.launch.runner import Status
from gregory.runs.spec import RunHandle
from tools.installation import REPOSITORY


def test_this_process_is_alive():
    assert processes.observe(processes.handle_of(os.getpid())).status is Status.ALIVE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has namespaces")
def test_a_process_of_another_pid_namespace_is_unknown_although_the_host_name_is_equal():
    code = "import os; from gregory.launch import processes; print(processes.handle_of(os.getpid()).model_dump_json())"
    argv = ["unshare", "--pid", "--fork", "--map-root-user", "--user"] if os.geteuid() else ["unshare", "--pid", "--fork", "--mount-proc"]

    printed = subprocess.run([*argv, sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    handle = RunHandle.model_validate_json(printed)
    assert handle.host.startswith(f"{os.uname().nodename} pid:[")
    assert processes.observe(handle).status is Status.UNKNOWN


def test_a_process_of_another_boot_has_probably_ended():
    handle = processes.handle_of(os.getpid())
    of_another_boot = handle.model_copy(update={"uid": f"another-boot:{handle.uid.partition(':')[2]}"})

    observation = processes.observe(of_another_boot)

    assert observation.status is Status.UNKNOWN
    assert observation.diagnosis is not None
    assert observation.text == f"process {os.getpid()} belongs to another boot of {handle.host}, or to another machine of that name"


def test_without_the_id_of_the_boot_no_end_is_certain(monkeypatch: pytest.MonkeyPatch):
    """A service manager can hide this file from a service."""
    monkeypatch.setattr(processes, "_boot", lambda: "")
    handle = processes.handle_of(os.getpid())

    assert processes.observe(handle).status is Status.UNKNOWN


def test_a_process_that_ended_on_this_machine_has_certainly_ended():
    ended = subprocess.Popen(["sleep", "600"])
    handle = processes.handle_of(ended.pid)
    ended.kill()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    zombie = processes.observe(handle).status
    ended.wait()

    assert (zombie, processes.observe(handle).status) == (Status.TERMINATED, Status.TERMINATED)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_process_that_ends_while_its_start_is_read_has_certainly_ended(monkeypatch: pytest.MonkeyPatch):
    ending = subprocess.Popen(["sleep", "600"])
    handle = processes.handle_of(ending.pid)
    read_text = Path.read_text

    def read_after_the_end(path: Path, **options: Any) -> str:
        if path != Path(f"/proc/{ending.pid}/stat"):
            return read_text(path, **options)
        with path.open(**options) as stat:
            ending.kill()
            ending.wait()
            return stat.read()

    monkeypatch.setattr(Path, "read_text", read_after_the_end)

    assert processes.observe(handle).status is Status.TERMINATED
    assert ending.returncode == -9


# Another account in a mount namespace whose /proc hides processes. The libraries are imported before the change of the account.
AS_ANOTHER_ACCOUNT = """
import encodings.ascii, json, os, sys
from gregory.launch import processes
from gregory.runs.spec import RunHandle
os.setgroups([])
os.setresgid(12345, 12345, 12345)
os.setresuid(12345, 12345, 12345)
found = [processes.observe(RunHandle.model_validate_json(handle)) for handle in sys.argv[1:]]
print(json.dumps([(one.status, one.text) for one in found]))
"""


@pytest.mark.root
@pytest.mark.parametrize("options", ["hidepid=0", "hidepid=1", "hidepid=2", "hidepid=2,subset=pid"])
def test_a_process_that_proc_hides_is_unknown(options: str):
    living, ended = subprocess.Popen(["sleep", "600"]), subprocess.Popen(["sleep", "600"])
    try:
        handles = [processes.handle_of(process.pid) for process in (living, ended)]
        ended.kill()
        ended.wait()
        observe = [sys.executable, "-c", AS_ANOTHER_ACCOUNT, *(handle.model_dump_json() for handle in handles)]
        argv = ["unshare", "--mount", "sh", "-c", f'mount -t proc -o {options} proc /proc && exec "$@"', "sh", *observe]
        done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True)
    finally:
        living.kill()
        living.wait()

    assert done.returncode == 0, done.stderr
    (status, text), (status_of_ended, _) = json.loads(done.stdout)
    if options == "hidepid=0":
        assert (status, status_of_ended) == ("alive", "terminated")
    elif "subset" in options:
        # The id of the boot is hidden too.
        assert (status, status_of_ended) == ("unknown", "unknown")
    else:
        assert (status, status_of_ended) == ("unknown", "terminated")
        assert text == f"process {living.pid} is hidden from this account"
