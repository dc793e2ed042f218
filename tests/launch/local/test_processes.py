"""Handles of processes on this machine and in other pid namespaces."""

import os
import subprocess
import sys

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
