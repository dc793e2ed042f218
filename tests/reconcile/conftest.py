"""Collects the tests with several connections only if the database is a server."""

import os

collect_ignore = [] if os.environ.get("POSTGRES_DB") else ["test_two_at_once.py"]
