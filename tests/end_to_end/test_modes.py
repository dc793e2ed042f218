"""The modes of the files of a run do not depend on the umask of the command."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.articles import Row, labelled, store
from tools.installation import REPOSITORY, Installation

SAME = [Row(number, "The same", "Words.", str(number % 2)) for number in range(101, 121)]


def modes(folder: Path) -> tuple[set[int], set[int]]:
    """The modes of the folders below this one, and those of the files, without working folders."""
    found = [(path.is_dir(), path.stat().st_mode & 0o7777) for path in folder.rglob("*") if ".runs" not in path.parts]
    return {mode for is_folder, mode in found if is_folder}, {mode for is_folder, mode in found if not is_folder}


@pytest.mark.parametrize(
    ("umask", "shared"),
    [(0o077, 0o020), pytest.param(0o000, 0, marks=pytest.mark.slow), pytest.param(0o077, 0, marks=pytest.mark.slow)],
    ids=["077, of a group", "000", "077"],
)
def test_others_read_models_and_only_the_group_enters_working_folders(installation: Installation, umask: int, shared: int):
    """shared: the mode with which the group may write into the models folder."""
    installation.models.chmod(0o755 | shared)
    store(installation, labelled(60, first=1), subject="good")
    store(installation, SAME, subject="contradictory")
    command = [sys.executable, "manage.py", "train_models", "--team", "t", "--algo", "lgbm_tfidf"]

    done = subprocess.run(command, cwd=REPOSITORY, env=installation.environment, capture_output=True, text=True, umask=umask)

    assert (done.returncode, {row["success"] for row in installation.rows()}) == (1, {True, False}), done.stdout + done.stderr
    (version,) = installation.models.glob("t/good/lgbm_tfidf/*")
    assert modes(version.parent) == ({0o755}, {0o644})
    assert {folder.stat().st_mode & 0o7777 for folder in version.parents[:3]} == {0o755 | shared}
    (left,) = (row["run_id"] for row in installation.rows() if not row["success"])
    (working,) = installation.models.rglob(f".runs/{left}")
    assert working.stat().st_mode & 0o7777 == 0o750 | shared
