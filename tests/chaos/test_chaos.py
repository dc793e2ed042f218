"""A short chaos run. Its seed draws six faults, and early every disturbance except that of the submitter."""

import pytest

from tools import postgresql
from tools.chaos import chaos_run, check, table
from tools.chaos.script import Fault, draw
from tools.cluster import run_image
from tools.cluster.cluster import Cluster

pytestmark = pytest.mark.slow

SEED, RUNS = 2226, 6


def test_a_short_chaos_run_has_no_violation(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("chaos")
    # Pods mount this folder as another user. They do not pass through pytest's private folder above it.
    folder.chmod(0o755)
    assert len({script.fault for script in draw(SEED, RUNS)} - {Fault.NONE}) == RUNS

    outcome = chaos_run.run_chaos(
        cluster,
        cluster_postgresql,
        folder / "environment",
        image=run_image.SCRIPTED,
        seed=SEED,
        runs=RUNS,
        concurrent=6,
        limit_seconds=240,
        info=print,
    )

    wrong = {one.strike.script.label: words for one in outcome.found if (words := check.violations(one))}
    assert not wrong, (table.of(outcome.found), wrong)
    assert sum(outcome.disturbed.values()) > 0
    assert sum(one.strike.struck is True for one in outcome.found) >= RUNS - 2
