"""`python -m tests.on_postgresql ARGUMENTS`: the database tests with PostgreSQL as the database of the product.

ARGUMENTS go to pytest.
"""

import os
import subprocess
import sys

from tools import postgresql
from tools.installation import REPOSITORY

MARKER = "pytest.mark.database"


def modules() -> list[str]:
    """The files with database tests. pytest imports no other, which saves the import of TensorFlow."""
    paths = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    return [str(path.relative_to(REPOSITORY)) for path in paths if MARKER in path.read_text(encoding="utf-8")]


def main(arguments: list[str]) -> int:
    """The exit code of pytest. Without a server on this machine: 0, or 1 in strict mode."""
    programs = postgresql.binaries()
    if programs is None:
        sys.stderr.write("SKIPPED: the database tests on PostgreSQL; install a server, for example: apt-get install postgresql\n")
        return 1 if os.environ.get("STRICT") == "1" else 0
    command = [sys.executable, "-m", "pytest", "-m", "database", *arguments, *modules()]
    with postgresql.running(programs) as server:
        server.create("gregory")
        return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **server.environment("gregory")}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
