"""`python -m tools.audit [--advisories FOLDER]`: compare every locked package with known vulnerabilities. Exit code 1 if there is one.

Without a folder, pip-audit asks the service of OSV. FOLDER is a copy of an advisory database in OSV's format, such as PyPA's. Then a
server on 127.0.0.1 answers from its files, and nothing uses a network.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.installation import REPOSITORY

LOCKS = sorted((REPOSITORY / "locks").glob("*.lock"))
OSV = "https://api.osv.dev/v1/query"
REMEDY = "make audit ADVISORIES=folder"
# All values stay texts, because OSV compares versions and dates as texts.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
Advisory = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """0 if no locked package has a known vulnerability, 1 if one has, or if the question has no answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--advisories", type=Path, metavar="FOLDER", help="a copy of an advisory database in OSV's format")
    parser.add_argument("--service", default=OSV, metavar="URL", help="address of the service")
    parser.add_argument("locks", type=Path, nargs="*", default=LOCKS, metavar="LOCK", help="lock files (default: all)")
    options = parser.parse_args(arguments)
    if options.advisories is None:
        return _audit(options.locks, options.service)
    advisories = read(options.advisories)
    if not advisories:
        sys.stderr.write(f"{options.advisories} has no advisory of a Python package: give a folder with files in OSV's format\n")
        return 1
    with serving(advisories) as url:
        return _audit(options.locks, url)


def read(folder: Path) -> Mapping[str, list[Advisory]]:
    """The advisories in a folder and its subfolders, by the name of the package."""
    found: dict[str, list[Advisory]] = defaultdict(list)
    for path in sorted(file for file in folder.rglob("*") if file.suffix in (".json", ".yaml", ".yml")):
        advisory = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
        if isinstance(advisory, dict) and "id" in advisory:
            for name in {name for entry in advisory.get("affected", []) if (name := _package(entry))}:
                found[name].append(advisory)
    return found


def affects(advisory: Advisory, name: str, version: str) -> bool:
    """Whether a version of a package is affected: it is listed, or it is in a range."""
    entries = [entry for entry in advisory["affected"] if _package(entry) == canonicalize_name(name)]
    ranges = [each for entry in entries for each in entry.get("ranges", []) if each["type"] == "ECOSYSTEM"]
    listed = {each for entry in entries for each in entry.get("versions", [])}
    return version in listed or any(_contains(each["events"], Version(version)) for each in ranges)


@contextmanager
def serving(advisories: Mapping[str, list[Advisory]]) -> Iterator[str]:
    """The address of a server that answers as OSV's service does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = canonicalize_name(query["package"]["name"]), query["version"]
            answer = {"vulns": [each for each in advisories.get(name, []) if affects(each, name, version)]}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _audit(locks: Sequence[Path], url: str) -> int:
    files = [word for lock in locks for word in ("--requirement", str(lock))]
    # The lock files name every package, so nothing is resolved.
    how = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--vulnerability-service=osv", f"--osv-url={url}")
    done = subprocess.run([sys.executable, "-m", "pip_audit", *how, *files], stderr=subprocess.PIPE, text=True, check=False)
    if "Traceback" in done.stderr:
        cause = done.stderr.strip().splitlines()[-1]
        sys.stderr.write(f"{url} does not answer: {cause}\nwithout a network, give a copy of an advisory database: {REMEDY}\n")
        return 1
    sys.stderr.write(done.stderr)
    return done.returncode


def _package(entry: Mapping[str, Any]) -> str:
    package = entry.get("package", {})
    return canonicalize_name(package["name"]) if package.get("ecosystem") == "PyPI" else ""


def _contains(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    inside = False
    for kind, limit in sorted((next(iter(event.items())) for event in events), key=lambda event: Version(event[1])):
        passed = version > Version(limit) if kind == "last_affected" else version >= Version(limit)
        if passed:
            inside = kind == "introduced"
    return inside


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
