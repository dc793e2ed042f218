"""Builds both versions of helm before the first test of the chart."""

from collections.abc import Iterator

import pytest

from tests.strict import need
from tools.chart import helm
from tools.go_programs import REMEDY


@pytest.fixture(scope="session", autouse=True)
def programs_of_helm() -> None:
    for version in helm.VERSIONS:
        with helm.using(version):
            need(helm.usable(), what=f"helm {version}", remedy=REMEDY)
            helm.build()


@pytest.fixture(params=helm.VERSIONS)
def each_helm(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs with each version."""
    with helm.using(request.param):
        yield request.param
