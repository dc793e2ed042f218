"""A PostgreSQL failover while three Jobs train: the address moves to the standby, which accepts writes later."""

import time
from collections.abc import Iterator

import pytest

from gregory.runs.spec import new_run_id
from tests.kubernetes.production import Production, producing
from tests.strict import need
from tools import postgresql
from tools.cluster import network, run_image
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace

pytestmark = pytest.mark.slow

TEAM, SUBJECTS = "failover", ("first", "second", "third")
# Longer than the interval of heartbeats.
PROMOTED_AFTER = 20.0


@pytest.fixture(scope="module")
def primary() -> Iterator[postgresql.Server]:
    """A server that pods reach, and that does not come back."""
    programs = postgresql.binaries()
    need(programs, what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")
    assert programs is not None
    with postgresql.running(programs, pods=network.HOST) as server:
        yield server


@pytest.fixture(scope="module")
def production(
    cluster: Cluster, primary: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    namespace = ClusterNamespace(cluster=cluster, namespace=f"runs-{new_run_id()}", folder=tmp_path_factory.mktemp("failover"))
    with producing(namespace, primary, run_image.SCRIPTED) as production:
        yield production


def test_a_failover_while_three_jobs_train_loses_nothing(production: Production, primary: postgresql.Server):
    production.subjects(TEAM, *SUBJECTS)
    with production.held.all():
        production.train(TEAM)
        for row in production.rows(TEAM):
            production.held.hold(row["run_id"])
    rows = [production.at_work(TEAM, subject) for subject in SUBJECTS]
    with postgresql.standby(primary) as standby, production.reconciling():
        primary.stop()
        standby.take_over(primary)
        for row in rows:
            production.held.let_go(row["run_id"])
        time.sleep(PROMOTED_AFTER)
        standby.promote()
        ended = [production.until(TEAM, subject, lambda row: row["state"] == "succeeded") for subject in SUBJECTS]

        assert {(row["success"], row["attempt"], row["exit_code"]) for row in ended} == {(True, 1, 0)}
        assert len(list(production.models.glob(f"{TEAM}/*/lgbm_tfidf/*/manifest.json"))) == len(SUBJECTS)
        assert production.verify()
