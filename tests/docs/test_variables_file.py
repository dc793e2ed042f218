"""One form of a file of variables, with passwords that are hard to quote, through each program that the documents name as its reader."""

import base64
import ctypes
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.markdown import blocks
from tests.strict import need
from tools.cluster import binaries
from tools.docker_engine import COMPOSE

PASSWORDS = (
    "pa$$w0rd&x y",
    "it's",
    '"quoted"',
    r"back\slash\n",
    "`date` $(date) ${HOME}",
    "#hash = sign;",
    "  spaces  ",
    "*?[a]{b,c}~!",
    "Grüße Ω",
    "'\"\\$`'",
)
EXPECTED = {f"POSTGRES_{number}": password for number, password in enumerate(PASSWORDS)}


def quoted(value: str) -> str:
    """The form of the README. systemd does not read the other form of an apostrophe that a shell knows, `'\\''`."""
    return "'" + value.replace("'", """'"'"'""") + "'"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one variable for each password, at the place that the documents name."""
    (tmp_path / "checkout").mkdir()
    path = tmp_path / "gregory.env"
    path.write_text("".join(f"{name}={quoted(value)}\n" for name, value in EXPECTED.items()), encoding="utf-8")
    return path


def in_shell(file: Path, command: str, *, shell: str = "sh") -> str:
    """The output of a command after the line with which the documents read the file."""
    (reading,) = {line for block in blocks("README.md") for line in block.text.splitlines() if line.startswith("set -a;")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(file.parent), "LANG": "C.UTF-8"}
    script = f"{reading}\n{command}"
    done = subprocess.run(
        [shell, "-euc", script], cwd=file.parent / "checkout", env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell(file: Path, shell: str):
    printed = in_shell(file, "env -0", shell=shell)

    found = dict(entry.split("=", 1) for entry in printed.split("\0") if entry)
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


@pytest.mark.docker
def test_compose(file: Path, tmp_path: Path):
    need(Path(COMPOSE).exists(), what="docker-compose", remedy="apt-get install docker-compose")
    services = {"any": {"image": "any", "environment": {name: f"${{{name}:?}}" for name in EXPECTED}}}
    (tmp_path / "checkout" / "compose.yaml").write_text(json.dumps({"version": "3", "services": services}))

    printed = in_shell(file, f"{COMPOSE} config")

    # `config` prints a file in which a dollar sign is doubled.
    found = yaml.safe_load(printed)["services"]["any"]["environment"]
    assert {name: value.replace("$$", "$") for name, value in found.items()} == EXPECTED


@pytest.mark.cluster
def test_kubectl(file: Path):
    need(binaries.usable(), what="kubectl", remedy=binaries.REMEDY)
    lines = {line for block in blocks("docs/kubernetes.md") for line in block.text.splitlines() if "create secret" in line}
    (command,) = lines

    printed = in_shell(file, command.replace("kubectl", f"{binaries.build()}/kubectl", 1) + " --dry-run=client --output json")

    found = json.loads(printed)["data"]
    assert {name: base64.b64decode(value).decode() for name, value in found.items()} == EXPECTED


def test_systemd(file: Path):
    """`load_env_file` is the function of systemd that reads `EnvironmentFile=`."""
    libraries = sorted(Path("/usr/lib").glob("**/systemd/libsystemd-shared-*.so"))
    need(libraries, what="systemd", remedy="apt-get install systemd")
    load = ctypes.CDLL(str(libraries[-1])).load_env_file
    load.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p)))
    entries = ctypes.POINTER(ctypes.c_char_p)()

    assert load(None, bytes(file), ctypes.byref(entries)) == 0

    assert dict(_until_null(entries)) == EXPECTED


def _until_null(entries: "ctypes._Pointer[ctypes.c_char_p]") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while (entry := entries[len(found)]) is not None:
        name, _, value = entry.decode().partition("=")
        found.append((name, value))
    return found


def test_the_files_of_the_documents_have_this_form():
    files = [block for document in ("README.md", "docs/docker.md") for block in blocks(document) if block.name.endswith(".env")]

    assert len(files) == 2
    assert [line for block in files for line in block.text.splitlines() if not re.fullmatch(r"[A-Z_]+='[^']*'", line)] == []


def test_the_service_of_the_documents_is_valid(tmp_path: Path):
    verify = Path("/usr/bin/systemd-analyze")
    need(verify.exists(), what="systemd", remedy="apt-get install systemd")
    (unit,) = [block for block in blocks("docs/operations.md") if block.name.endswith(".service")]
    path = tmp_path / unit.name
    # The program must exist.
    path.write_text(unit.text.replace("/srv/gregory-train/.venv/bin/python", "/bin/true"))

    done = subprocess.run([str(verify), "verify", str(path)], capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    assert "EnvironmentFile=/srv/gregory.env" in unit.text
