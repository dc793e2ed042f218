"""The comparison of locked packages with a folder of advisories."""

import json
from pathlib import Path

import pytest

from tools import audit

RANGES = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"last_affected": "2.4"}]}]
ADVISORY = {
    "id": "PYSEC-0000-1",
    "summary": "Invented for a test",
    "affected": [{"package": {"ecosystem": "PyPI", "name": "some-package"}, "ranges": RANGES, "versions": ["3.0"]}],
}


def lock(folder: Path, version: str) -> Path:
    path = folder / "some.lock"
    path.write_text(f"some-package=={version} \\\n    --hash=sha256:{'0' * 64}\n")
    return path


@pytest.mark.parametrize(
    ("version", "affected"),
    [("0.1", True), ("1.1.9", True), ("1.2", False), ("1.9", False), ("2.0", True), ("2.4", True), ("2.5", False), ("3.0", True)],
)
def test_versions_are_affected_in_a_range_or_by_name(version: str, affected: bool):
    assert audit.affects(ADVISORY, "some-package", version) is affected


def test_only_the_named_package_is_affected():
    assert [audit.affects(ADVISORY, name, "1.1") for name in ("Some_Package", "other")] == [True, False]


def test_a_locked_package_with_a_known_vulnerability_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "vulns").mkdir()
    (tmp_path / "vulns" / "PYSEC-0000-1.json").write_text(json.dumps(ADVISORY))

    assert audit.main(["--advisories", str(tmp_path), str(lock(tmp_path, "1.1"))]) == 1

    shown = capfd.readouterr()
    assert "Found 1 known vulnerability in 1 package" in shown.err
    assert ["some-package", "1.1", "PYSEC-0000-1", "1.2"] in [line.split() for line in shown.out.splitlines()]


def test_locked_packages_without_a_known_vulnerability_pass(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "PYSEC-0000-1.yaml").write_text(json.dumps(ADVISORY))

    assert audit.main(["--advisories", str(tmp_path), str(lock(tmp_path, "1.2"))]) == 0
    assert "No known vulnerabilities found" in capfd.readouterr().err


def test_a_folder_without_advisories_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert audit.main(["--advisories", str(tmp_path)]) == 1
    assert capfd.readouterr().err == f"{tmp_path} has no advisory of a Python package: give a folder with files in OSV's format\n"


def test_without_the_service_the_copy_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert audit.main(["--service", "http://127.0.0.1:9/v1/query", str(lock(tmp_path, "1.2"))]) == 1

    said = capfd.readouterr().err
    assert said.startswith("http://127.0.0.1:9/v1/query does not answer: requests.exceptions.ConnectionError: ")
    assert said.endswith("\nwithout a network, give a copy of an advisory database: make audit ADVISORIES=folder\n")
