"""What needs several connections at once is collected where the database is a server."""

import os

collect_ignore = [] if os.environ.get("POSTGRES_DB") else ["test_two_at_once.py"]
