"""What is about a server is collected where the database is one."""

import os

collect_ignore = [] if os.environ.get("POSTGRES_DB") else ["test_on_a_server.py"]
