"""Predictions and promotions that are killed at random leave no gap and nothing double: a few of the thirty rounds of the program."""

import re
import subprocess
import sys

import pytest

from tests.strict import need
from tools import postgresql
from tools.installation import REPOSITORY

ROUNDS = 2


@pytest.mark.slow
@pytest.mark.postgres
def test_killed_predictions_and_promotions_leave_true_rows():
    need(postgresql.binaries(), what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")

    command = [sys.executable, "-m", "tests.live.kills", "--kills", str(ROUNDS)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=3600)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{ROUNDS} rounds, killed: .+; differences: 0; articles without a prediction at the end: 0; ", done.stdout)
