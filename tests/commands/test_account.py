"""The operator of a command, also with a user id that has no account."""

import getpass
import socket
import subprocess
import sys

import pytest

from gregory.management.account import operator
from tools.installation import REPOSITORY

AS_NO_ACCOUNT = """
import os
from gregory.management.account import operator
import pwd
for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
    os.environ.pop(name, None)
os.setresuid(54321, 54321, 54321)
print(operator())
"""


def test_an_account_has_its_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOGNAME", "anna")

    assert operator() == f"anna@{socket.gethostname()}"


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 54321"), OSError("No username set in the environment")])
def test_each_version_of_python_has_its_own_error(monkeypatch: pytest.MonkeyPatch, error: Exception):
    def getuser() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", getuser)
    monkeypatch.setattr("os.getuid", lambda: 54321)

    assert operator() == f"uid 54321@{socket.gethostname()}"


@pytest.mark.root
def test_a_user_id_without_an_account_is_the_operator():
    done = subprocess.run([sys.executable, "-c", AS_NO_ACCOUNT], cwd=REPOSITORY, capture_output=True, text=True)

    assert (done.stderr, done.stdout) == ("", f"uid 54321@{socket.gethostname()}\n")
