"""A connection that is lost at any message of a run changes nothing: a sample of all messages."""

import subprocess
import sys

import pytest

from tests.strict import need
from tools import postgresql
from tools.installation import REPOSITORY

CUTS = 25


@pytest.mark.slow
@pytest.mark.postgres
def test_a_run_whose_connection_is_cut_at_a_message_ends_like_an_undisturbed_one():
    need(postgresql.binaries(), what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")

    # In a process without threads, because each run is a fork of it.
    done = subprocess.run(
        [sys.executable, "-m", "tests.live.cuts", "--sample", str(CUTS)], cwd=REPOSITORY, capture_output=True, text=True, timeout=3600
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(
        f"{CUTS} runs, {CUTS} cuts; runs with a difference: 0; trainings lost: 0; runs by exit code: {{0: {CUTS}}}\n"
    )
