"""Collects the tests of a database server only if there is one."""

import os

collect_ignore = [] if os.environ.get("POSTGRES_DB") else ["test_on_a_server.py"]
