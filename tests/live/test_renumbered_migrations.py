"""A GregoryAI database whose migrations have the numbers from before GregoryAI numbered them anew."""

import re
from pathlib import Path

from tests.live.database import live
from tools.installation import Installation
from tools.postgresql import Server

# The records of the former numbers. The tables are the same.
FORMER = """
DELETE FROM django_migrations WHERE app = 'gregory' AND name <> '0001_initial';
INSERT INTO django_migrations (app, name, applied) VALUES ('gregory', '0040_algorithm_of_a_run', '2025-05-01');
"""


def test_the_documented_command_records_the_column(postgresql_server: Server, tmp_path: Path):
    database = live(postgresql_server, "newest")
    database.execute(FORMER)
    installation = Installation(tmp_path, environment=database.environment())

    refused = installation.manage("migrate", "-v0")
    preflight = installation.manage("preflight", "--only", "database")

    assert refused.returncode == 1
    assert 'column "algorithm" of relation "gregory_predictionrunlog" already exists' in refused.stderr
    commands = re.findall(r"python manage\.py (migrate[^,\n]*)", preflight.stdout.partition("gregory.0002")[2])
    assert commands == ["migrate --fake gregory 0002_predictionrunlog_algorithm", "migrate"]
    (documented,) = re.findall(r"from `migrate` \| (.+?) \|", Path("docs/operations.md").read_text(encoding="utf-8"))
    assert re.findall(r"`python manage\.py (.+?)`", documented) == commands
    for command in commands:
        installation.must(*command.split())
    assert "every migration is recorded" in installation.manage("preflight", "--only", "database").stdout
