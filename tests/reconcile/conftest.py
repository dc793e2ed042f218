"""A cluster behind the interface of a runner, and a reconciler of its runs."""

import os
from pathlib import Path

import pytest

from gregory.reconcile.loop import Reconciler
from tests.reconcile.pretend_cluster import PretendCluster

# The tests with several connections need a database that is a server.
collect_ignore = [] if os.environ.get("POSTGRES_DB") else ["test_two_at_once.py"]


@pytest.fixture
def cluster() -> PretendCluster:
    return PretendCluster()


@pytest.fixture
def reconciler(cluster: PretendCluster, tmp_path: Path) -> Reconciler:
    return Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900)
