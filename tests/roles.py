"""The two database roles of docs/sql/least-privilege.sql, with passwords."""

import os
import subprocess
from pathlib import Path

from tools.installation import REPOSITORY
from tools.postgresql import Server

ROLE, ROLE_PASSWORD = "gregory_train", "of-the-commands"
RUN_ROLE, RUN_PASSWORD = "gregory_run", "of-the-runs"
SCRIPT, PREDICTOR_SCRIPT = (REPOSITORY / "docs/sql" / name for name in ("least-privilege.sql", "predictor.sql"))
# The roles of an installation: that of its commands, and that of the runs which they start.
OF_COMMANDS = {"POSTGRES_USER": ROLE, "POSTGRES_PASSWORD": ROLE_PASSWORD}
OF_PREDICTIONS = {"POSTGRES_USER": "gregory_predict", "POSTGRES_PASSWORD": "of-the-predictions", "POSTGRES_RUN_USER": ""}
OF_RUNS = {"POSTGRES_RUN_USER": RUN_ROLE, "POSTGRES_RUN_PASSWORD": RUN_PASSWORD}


def run_script(server: Server, database: str, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    """Run a script with psql, as the owner."""
    passwords = {"POSTGRES_TRAIN_PASSWORD": ROLE_PASSWORD, "POSTGRES_RUN_PASSWORD": RUN_PASSWORD}
    passwords["POSTGRES_PREDICT_PASSWORD"] = OF_PREDICTIONS["POSTGRES_PASSWORD"]
    argv = [server.programs / "psql", "--no-psqlrc", "--quiet", "--dbname", server.url(database), "--file", script]
    return subprocess.run(argv, env={**os.environ, **passwords}, capture_output=True, text=True, timeout=300)


def grant(server: Server, database: str, script: Path = SCRIPT) -> None:
    """Create the roles of a script, and give them their rights in the database."""
    done = run_script(server, database, script)
    assert done.returncode == 0, done.stderr
