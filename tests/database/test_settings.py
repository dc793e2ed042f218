"""The settings of the connection, as a process reads them from its environment."""

import json
import os
import subprocess
import sys

import pytest

from gregory.database.postgresql.base import Client
from tools.installation import REPOSITORY

SHOW = "import json; from gregory import settings; print(json.dumps(settings.DATABASES['default']['OPTIONS']))"


@pytest.mark.parametrize(("hosts", "expected"), [("one.example", None), ("one.example,two.example", "read-write")])
def test_of_several_hosts_the_one_that_accepts_writes_is_used(hosts: str, expected: str | None):
    environment = {**os.environ, "POSTGRES_DB": "gregory", "DB_HOST": hosts}
    done = subprocess.run([sys.executable, "-c", SHOW], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)

    options = json.loads(done.stdout)
    assert options.get("target_session_attrs") == expected
    # Poolers refuse startup options.
    assert "options" not in options


@pytest.mark.parametrize(("options", "expected"), [({"require_auth": "!password"}, "!password"), ({}, None)])
def test_psql_gets_the_permitted_proofs(options: dict[str, str], expected: str | None):
    settings = {"NAME": "gregory", "USER": "u", "PASSWORD": "p", "HOST": "h", "PORT": 5432, "OPTIONS": options}

    _, variables = Client.settings_to_cmd_args_env(settings, [])

    assert variables is not None
    assert variables.get("PGREQUIREAUTH") == expected
    assert variables["PGPASSWORD"] == "p"
