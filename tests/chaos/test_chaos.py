"""A short chaos run with a seed of which every fault, and every disturbance but that of the submitter, is drawn early."""

import pytest

from tools import postgresql
from tools.chaos import chaos_run, judge, table
from tools.chaos.script import Fault, draw
from tools.cluster import run_image
from tools.cluster.cluster import Cluster

pytestmark = pytest.mark.slow

SEED, RUNS = 2226, 6


def test_no_fault_of_a_short_run_gets_a_wrong_verdict(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("chaos")
    # Pods reach the volume as another user; pytest's own folder above is closed to them, and they never go through it.
    folder.chmod(0o755)
    assert len({script.fault for script in draw(SEED, RUNS)} - {Fault.NONE}) == RUNS

    outcome = chaos_run.rage(
        cluster,
        cluster_postgresql,
        folder / "playground",
        image=run_image.CHAOS,
        seed=SEED,
        runs=RUNS,
        side_by_side=6,
        limit_seconds=240,
        say=print,
    )

    wrong = {one.strike.script.label: words for one in outcome.found if (words := judge.violations(one))}
    assert not wrong, (table.of(outcome.found), wrong)
    assert sum(outcome.disturbed.values()) > 0
    assert sum(one.strike.struck is True for one in outcome.found) >= RUNS - 2
