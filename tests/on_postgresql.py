"""`python -m tests.on_postgresql ARGUMENTS`: pytest with a real PostgreSQL as the product's own database."""

import os
import subprocess
import sys

from tools import postgresql


def main(arguments: list[str]) -> int:
    """pytest's exit code; without a server on this machine the tests are skipped aloud, in strict mode they fail."""
    programs = postgresql.binaries()
    if programs is None:
        sys.stderr.write("SKIPPED: the database tests on PostgreSQL; install a server, for example: apt-get install postgresql\n")
        return 1 if os.environ.get("STRICT") == "1" else 0
    with postgresql.running(programs) as server:
        server.create("gregory")
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], env={**os.environ, **server.environment("gregory")}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
