"""Tests that need the same engine, or the same module's fixtures, are dealt to one worker."""

import pytest

from tests.sharing import together


@pytest.mark.parametrize(
    ("test", "shared"),
    [
        ("tests/docker/test_images.py::TestSafety::test_one[cpu_image]", "Docker engine"),
        ("tests/launch/test_runner_contract.py::test_one[docker]", "Docker engine"),
        ("tests/launch/test_runner_contract.py::test_one[docker-code0]", "Docker engine"),
        ("tests/launch/test_runner_contract.py::test_one[local]", "tests/launch/test_runner_contract.py"),
        ("tests/cluster/test_cluster.py::test_one", "Kubernetes"),
        ("tests/launch/test_runner_contract.py::test_one[kubernetes]", "Kubernetes"),
        ("tests/chart/test_release.py::test_one", "Kubernetes"),
        ("tests/chaos/test_chaos.py::test_one", "Kubernetes"),
        ("tests/test_sharing.py::test_one", "tests/test_sharing.py"),
    ],
)
def test_what_stays_together(test: str, shared: str):
    assert together(test) == shared
