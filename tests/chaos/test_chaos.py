"""A short chaos run: every lane disturbs it, and its scripts have six different faults."""

import pytest

from tools import postgresql
from tools.chaos import chaos_run, quota, table
from tools.chaos.script import draw
from tools.cluster import run_image
from tools.cluster.cluster import Cluster

pytestmark = pytest.mark.slow

# Without a deleted Job, whose row is closed two minutes later. test_rows_ends.py deletes one.
SEED, RUNS = 3506, 8


def test_a_short_chaos_run_has_no_violation(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("chaos")
    # Pods mount this folder as another user. They do not pass through pytest's private folder above it.
    folder.chmod(0o755)
    assert len({blow.fault for script in draw(SEED, RUNS) for blow in script.blows}) >= 6

    outcome = chaos_run.run_chaos(
        cluster,
        cluster_postgresql,
        folder / "environment",
        image=run_image.SCRIPTED,
        options=chaos_run.Options(seed=SEED, runs=RUNS, concurrent=6, limit_seconds=1800, at_least=0),
        info=print,
    )

    wrong = {one.script.label: words for one, words in outcome.wrong}
    assert not wrong, (table.of(outcome.found), wrong)
    assert not outcome.unknown
    assert outcome.targets.total() > 0
    # A fault comes too late if a disturbance delays it. `make chaos` strikes other runs until each fault took effect often enough.
    assert quota.faults(strike for one in outcome.found for strike in one.strikes).total() > 0
