"""The number of queries does not grow with the number of subjects and runs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gregory.reconcile.loop import Reconciler
from gregory.runs import store
from gregory.runs.spec import RunSpec
from tests.database_rows import HERE, make_subject, make_team, planned
from tests.reconcile.pretend_cluster import PretendCluster, handle_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FEW, MANY = 3, 20


def queries(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


@pytest.fixture
def cluster() -> PretendCluster:
    return PretendCluster()


@pytest.fixture(params=[FEW, MANY], ids=["few", "many"])
def runs(request: pytest.FixtureRequest, cluster: PretendCluster, settings, tmp_path: Path) -> list[RunSpec]:
    """FEW or MANY subjects of one team, each with a running run on a pretended cluster."""
    settings.MODELS_DIR = tmp_path
    team, specs = make_team("team"), []
    for number in range(request.param):
        spec = store.open_run(planned(make_subject(team, f"s{number:03}")), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        store.claim(spec, handle_of(spec), image_digest="")
        specs.append(spec)
    # The first pass records the node of each run.
    list(Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900).reconcile_once())
    return specs


def test_a_dry_run_of_all_teams(runs, capsys: pytest.CaptureFixture[str]):
    # One query each for the columns of the team (twice), the subjects, the versions, the labels and the unfinished runs.
    assert queries(lambda: call_command("train_models", "--all-teams", "--dry-run")) == 6
    assert capsys.readouterr().out.count("has an unfinished run") == 3 * len(runs)


def test_a_list_of_runs(runs, capsys: pytest.CaptureFixture[str]):
    assert queries(lambda: call_command("training_runs", "list", "--limit", "100")) == 3
    assert capsys.readouterr().out.count("lgbm_tfidf: unfinished") == len(runs)


def test_a_reconciler_pass_and_heartbeats(runs, cluster: PretendCluster, tmp_path: Path):
    results = Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900).reconcile_once()

    assert queries(lambda: list(results)) == 1
    # With BEGIN and COMMIT.
    assert queries(lambda: store.heartbeat(runs)) == 3
