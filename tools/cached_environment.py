"""Virtual environments from lock files, kept outside the checkout under the checksum of their lock file.

Each is installed once per machine.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


class NotInstalled(Exception):
    """The environment could not be installed. The text is that of the installer."""


def cached_environment(name: str, lock: Path, *, python: Path = Path(sys.executable)) -> Path:
    """The folder of the environment with these packages for this interpreter. Raises NotInstalled."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    version = subprocess.run(
        [python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True, text=True, check=True
    ).stdout.strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gregory-train"
    environment = cache / f"{name}-{digest}-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as exclusive:
        fcntl.flock(exclusive, fcntl.LOCK_EX)
        if not environment.exists():
            _install(environment, lock, python)
    return environment


def _install(environment: Path, lock: Path, python: Path) -> None:
    """One rename at the end puts the complete folder in place."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory(dir=environment.parent, ignore_cleanup_errors=True) as folder:
        made = Path(folder, "environment")
        subprocess.run([python, "-m", "venv", "--without-pip", made], check=True)
        command: list[str | Path] = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            made / "bin" / "python",
            "--require-hashes",
            "-r",
            lock,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstalled(done.stderr.strip())
        shutil.move(made, environment)
