"""A command forks its fork server before it has its variables. Only the server of a local run is of use."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gregory.launch.local import early
from gregory.ml.stages.environment import stage_environment
from tests.end_to_end.trainings import wait_for
from tests.forking.test_forking import memory
from tools.installation import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has servers")
# No file has it, so memory has it only from a variable.
SECRET = secrets.token_hex(16)
ARGUMENTS = ["train_models", "--team", "", "--subject", "é"]
COMMAND = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from gregory.launch.local import early
{{defect}}
early.prepare()
import json, os
server = early.server and early.server._pid
print(json.dumps({{{{"arguments": sys.argv, "variables": dict(os.environ), "server": server}}}}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def variables() -> dict[str, str]:
    """Those of a command without options for its interpreter."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GREGORY_"))}
    return {**others, "POSTGRES_PASSWORD": SECRET, "PYTHONDONTWRITEBYTECODE": "1", "OF_TWO_LINES": "a=b\nc="}


@pytest.fixture
def command(tmp_path: Path, variables: dict[str, str], request: pytest.FixtureRequest) -> Iterator[tuple[psutil.Process, dict[str, Any]]]:
    """A command that waits, and what it has told."""
    program = tmp_path / "manage.py"
    program.write_text(COMMAND.format(defect=getattr(request, "param", "")))
    with (
        Path(os.devnull).open("rb") as inherited,
        subprocess.Popen(
            [sys.executable, program, *ARGUMENTS],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[inherited.fileno()],
        ) as process,
    ):
        assert process.stdout is not None
        yield psutil.Process(process.pid), json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.stdout.read() == b""


def test_the_command_has_its_own_arguments_and_variables(command, variables: dict[str, str], tmp_path: Path):
    process, told = command

    assert told["arguments"] == [str(tmp_path / "manage.py"), *ARGUMENTS]
    assert told["variables"] == variables
    assert Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0") == [sys.executable, *told["arguments"]]


# Only root reads the files of a server in /proc.
@pytest.mark.root
def test_the_server_is_as_if_it_had_begun_alone(command, variables: dict[str, str]):
    process, told = command
    server = psutil.Process(told["server"])

    wait_for(lambda: "gregory.forking" in server.cmdline())
    assert (server.parent(), os.getsid(server.pid), server.cwd()) == (process, server.pid, str(REPOSITORY))
    files = Path(f"/proc/{server.pid}/fd")
    # It has more while it forks the first run.
    wait_for(lambda: len(list(files.iterdir())) == 4)
    links = sorted(str(link.readlink()) for link in files.iterdir())
    assert (links[:3], links[3].partition(":")[0]) == ([os.devnull] * 3, "socket")
    names = {line.partition("=")[0] for line in Path(f"/proc/{server.pid}/environ").read_text().split("\0")}
    assert names - stage_environment(variables).keys() - {"PYTHONDONTWRITEBYTECODE"} == {""}


@pytest.mark.root
def test_the_server_has_no_variable_of_the_command_in_its_memory(command):
    process, told = command

    assert SECRET.encode() in memory(process.pid)
    assert SECRET.encode() not in memory(told["server"])


@pytest.mark.parametrize(
    "command",
    ["early._become_server = lambda *_: 1 / 0", "import os; early.os.fork = lambda: os.chdir('/no such folder')"],
    ids=["the server", "the fork"],
    indirect=True,
)
def test_a_command_without_its_server_goes_on_alone(command):
    process, told = command

    wait_for(lambda: all(child.status() == psutil.STATUS_ZOMBIE for child in process.children()))
    assert told["arguments"][1:] == ARGUMENTS


def test_the_server_ends_with_the_command(command):
    process, told = command
    server = psutil.Process(told["server"])

    process.kill()

    server.wait(60)


@pytest.mark.parametrize(
    ("arguments", "variable", "use"),
    [
        (ARGUMENTS, "PYTHONUNBUFFERED=1", True),
        (ARGUMENTS, "PYTHONWARNINGS=1", False),
        (ARGUMENTS, "GREGORY_RUNNER=local", True),
        (ARGUMENTS, "GREGORY_RUNNER=docker", False),
        (["train_models", "--dry-run"], "", False),
        (["train_models", "--dry"], "", False),
        (["train_models", "--he"], "", False),
        (["train_models", "--runner", "docker"], "", False),
        (["train_models", "--runner=docker"], "", False),
        (["train_models", "--ru=docker"], "", False),
        (["train_models", "--resume=1c77643caad7"], "", True),
        (["verify_models"], "", False),
        ([], "", False),
    ],
)
def test_when_a_command_forks_a_server(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], arguments: list[str], variable: str, use: bool
):
    name, _, value = variable.partition("=")
    monkeypatch.setattr(os, "environ", {**variables, name: value})
    monkeypatch.setattr(sys, "argv", ["manage.py", *arguments])
    monkeypatch.setattr(sys, "orig_argv", ["python", "manage.py", *arguments])

    assert early._is_of_use() is use


def test_a_command_below_a_debugger_forks_no_server(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]):
    monkeypatch.setattr(os, "environ", variables)
    monkeypatch.setattr(sys, "argv", ["manage.py", *ARGUMENTS])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "pdb", "manage.py", *ARGUMENTS])

    assert not early._is_of_use()
