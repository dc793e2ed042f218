"""The settings of the connection, as a process reads them from its environment."""

import json
import os
import subprocess
import sys

import pytest

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
