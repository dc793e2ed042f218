"""`--record-versions`: counts the tests on each version of Kubernetes, Helm and Kueue, and adds them to docs/tested-versions.json."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from tools.chart import helm
from tools.cluster import binaries, kueue
from tools.tested_versions import Programs, Result, add

OPTION = "--record-versions"
_PROPERTY = "programs"


def mark(item: pytest.Item) -> None:
    """Write the programs of a test on its reports. Its fixtures name them."""
    fixtures = getattr(item, "fixturenames", ())
    versions = {}
    if "cluster" in fixtures:
        versions["kubernetes"] = binaries.version()
    if "release" in fixtures and "cluster" in fixtures:
        versions["helm"] = helm.version()
    if "helm_3" in fixtures:
        versions["helm"] = helm.VERSIONS[1]
    if "each_helm" in fixtures:
        versions["helm"] = item.callspec.params["each_helm"]  # type: ignore[attr-defined]
    if "with_kueue" in fixtures:
        versions["kueue"] = kueue.VERSION
    if versions:
        item.user_properties.append((_PROPERTY, {name: version.removeprefix("v") for name, version in versions.items()}))


class Recorder:
    """Counts the reports of a session, also those of the workers of pytest-xdist."""

    def __init__(self) -> None:
        self._passed, self._failed = Counter[tuple[Programs, str]](), Counter[tuple[Programs, str]]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails in its set-up or tear-down failed."""
        for versions in (value for name, value in report.user_properties if name == _PROPERTY):
            key = Programs(**versions), report.nodeid.partition("::")[0]  # type: ignore[arg-type]
            if report.failed:
                self._failed[key] += 1
            elif report.passed and report.when == "call":
                self._passed[key] += 1

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """An interrupted session has run a part of a file, so it records nothing."""
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            day = datetime.now(tz=UTC).date().isoformat()
            is_default = (binaries.version(), helm.version()) == (binaries.DEFAULT, helm.VERSIONS[0])
            add(
                Result(*key, passed=self._passed[key], failed=self._failed[key], day=day, is_default=is_default)
                for key in self._passed | self._failed
            )


def start(config: pytest.Config) -> None:
    """Record this session if the option is given. Raises UsageError if it runs parts of files."""
    if not config.getoption(OPTION) or hasattr(config, "workerinput"):
        return
    if config.option.keyword or any("::" in argument for argument in config.args):
        raise pytest.UsageError(f"{OPTION} counts the tests of whole files; leave -k and names of tests away")
    config.pluginmanager.register(Recorder())
