"""Builds helm before the first test of the chart."""

import pytest

from tests.strict import need
from tools.chart import helm


@pytest.fixture(scope="session", autouse=True)
def program() -> None:
    need(helm.usable(), what="helm", remedy=helm.REMEDY)
    helm.build()
