"""What tests of the chart share: the program itself, built before the first of them."""

import pytest

from tests.strict import need
from tools.chart import helm


@pytest.fixture(scope="session", autouse=True)
def program() -> None:
    need(helm.usable(), what="helm", remedy=helm.REMEDY)
    helm.build()
