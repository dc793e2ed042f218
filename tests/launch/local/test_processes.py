"""Processes as handles: where a process id means something, and where it does not."""

import os
import subprocess
import sys

import pytest

from gregory.launch import processes
from gregory.launch.runner import Status
from gregory.runs.spec import RunHandle
from tools.installation import REPOSITORY


def test_this_process_is_here_and_alive():
    assert processes.observe(processes.handle_of(os.getpid())).status is Status.ALIVE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has namespaces")
def test_a_process_of_a_container_is_not_looked_for_among_this_machines_though_the_host_name_is_the_same():
    code = "import os; from gregory.launch import processes; print(processes.handle_of(os.getpid()).model_dump_json())"
    argv = ["unshare", "--pid", "--fork", "--map-root-user", "--user"] if os.geteuid() else ["unshare", "--pid", "--fork", "--mount-proc"]

    told = subprocess.run([*argv, sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    handle = RunHandle.model_validate_json(told)
    assert handle.host.startswith(f"{os.uname().nodename} pid:[")
    assert processes.observe(handle).status is Status.UNKNOWN
