"""The lock files: every package has a checksum, and every installation compares it."""

import re
from pathlib import Path

import pytest

from tools.installation import REPOSITORY

LOCKS = sorted((REPOSITORY / "locks").glob("*.lock"))
SCRIPTS = [REPOSITORY / "Makefile", *REPOSITORY.glob("Dockerfile*"), *REPOSITORY.glob("images/*.sh"), *REPOSITORY.glob(".ci/*")]


def commands(script: Path) -> list[str]:
    """The commands of a script. A backslash at the end of a line continues it."""
    lines = script.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [command.strip() for line in lines for command in re.split(r"&&|;", line)]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_package_of_a_lock_has_a_checksum(lock: Path):
    packages = re.split(r"\n(?=\S)", re.sub(r"\n +# .*", "", lock.read_text(encoding="utf-8").strip()))

    assert [package for package in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}", package)] == []


def test_every_lock_is_made_by_make_locks():
    (made,) = re.findall(r"for name in (.+); do", (REPOSITORY / "Makefile").read_text(encoding="utf-8"))

    assert set(made.split()) == {lock.stem for lock in LOCKS}


def test_every_installation_compares_checksums():
    installations = [command for script in SCRIPTS for command in commands(script) if re.search(r"\bpip (install|download)\b", command)]

    assert len(installations) >= 5
    assert [command for command in installations if "--require-hashes" not in command] == []


def test_one_version_of_uv_in_all_locks():
    found = {lock.stem: re.findall(r"^uv==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE) for lock in LOCKS}

    assert found["requirements-uv"] == found["requirements-dev"] != []
