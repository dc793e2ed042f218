"""promtool, Prometheus' own reader of rules and evaluator of rule tests: on the PATH, or from Debian's package, which is not installed.

Built from its Go module it would take more time than all tests of the chart.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.docker_engine import CACHE

REMEDY = "install promtool (Debian: prometheus) and put it on the PATH"
_UNPACKED = CACHE / "promtool" / "promtool"


def usable() -> bool:
    """Whether the program exists or Debian's package can be fetched."""
    return _UNPACKED.exists() or any(map(shutil.which, ("promtool", "apt-get")))


def fetch() -> Path:
    """The path of the program. Unpacks Debian's package into the cache if there is no other one."""
    if found := shutil.which("promtool"):
        return Path(found)
    if not _UNPACKED.exists():
        _UNPACKED.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_UNPACKED.parent) as temporary:
            download = ["apt-get", "download", "--quiet", "prometheus"]
            if subprocess.run(download, cwd=temporary, capture_output=True).returncode != 0:
                # A fresh machine has no list of packages.
                subprocess.run(["apt-get", "update", "--quiet"], check=True, capture_output=True)
                subprocess.run(download, cwd=temporary, check=True, capture_output=True)
            (package,) = Path(temporary).glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", package.name, "."], cwd=temporary, check=True)
            # A rename: a program that exists is complete.
            (Path(temporary) / "usr/bin/promtool").rename(_UNPACKED)
    return _UNPACKED


def promtool(*arguments: str, folder: Path) -> str:
    """Run promtool, which must succeed. Returns its output."""
    done = subprocess.run([str(fetch()), *arguments], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
