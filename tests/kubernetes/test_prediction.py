"""A prediction as a Job on tables of GregoryAI: its role, its mounts, and the articles afterwards."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess
from typing import Any

import pytest

from gregory.launch.image import MODELS_IN_IMAGE
from gregory.runs.spec import new_run_id
from tests import roles
from tests.kubernetes.production import Production, producing
from tests.live.articles_of_record import require_true_values
from tests.live.database import LABELLED, LiveDatabase, live
from tools import postgresql
from tools.cluster import run_image
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace

pytestmark = pytest.mark.slow

TEAM, SUBJECT = "neurology", "ms"
PLACE = f"{MODELS_IN_IMAGE}/{TEAM}/{SUBJECT}"
MEMBERS = LABELLED + 6
# It prints the results of two writes in the container of the run.
WRITES = """
import sys
from pathlib import Path
for path in (Path("models/neurology/ms/lgbm_tfidf/promoted.json"), Path("models/neurology/ms/.runs") / sys.argv[1] / "file"):
    try:
        path.write_text("")
        path.unlink()
        print("written")
    except OSError as error:
        print(error.strerror)
"""


@pytest.fixture(scope="module")
def predicted(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Production, LiveDatabase]]:
    """A model that a Job has trained, on a database with the newest tables of GregoryAI."""
    namespace = ClusterNamespace(cluster=cluster, namespace=f"predict-{new_run_id()}", folder=tmp_path_factory.mktemp("predict"))
    with producing(namespace, cluster_postgresql, run_image.NAME) as production:
        database = live(cluster_postgresql, "newest")
        production.database = database.name
        production.installation.environment |= database.environment()
        production.installation.must("migrate", "-v0")
        database.grant()
        roles.grant(database.server, database.name, roles.PREDICTOR_SCRIPT)
        production.installation.environment |= database.environment(role=True)
        password = {"POSTGRES_PASSWORD": roles.OF_PREDICTIONS["POSTGRES_PASSWORD"]}
        here = {"name": "predictor", "namespace": namespace.namespace}
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": here, "stringData": password})
        of_predictions = {"existingSecret": "predictor", "user": roles.OF_PREDICTIONS["POSTGRES_USER"]}
        namespace.config["database"] |= {"name": database.name, "prediction": of_predictions}
        production.train(TEAM, "--subject", SUBJECT, "--wait")
        yield production, database


def predict(production: Production, *flags: str, **environment: str) -> CompletedProcess[str]:
    command = ("predict_articles", "--team", TEAM, "--subject", SUBJECT, "--all-articles", *flags)
    file = production.cluster_file()
    done = production.installation.manage(*command, timeout=600, GREGORY_CLUSTER_CONFIG=file, **roles.OF_PREDICTIONS, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def mounts(container: dict[str, Any]) -> dict[str, bool]:
    return {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"] if mount["name"] == "models"}


def test_a_job_predicts_and_can_change_no_model(predicted: tuple[Production, LiveDatabase]):
    production, database = predicted
    with production.held.all(stage="predict-"):
        predict(production, "--algo", "lgbm_tfidf", "--threshold", "best-f1")
        row = production.at_work(TEAM, SUBJECT, stage="predict-")
    run_id = row["run_id"]

    (pod,) = production.pods_of(run_id)
    (container,) = pod["spec"]["containers"]
    cluster, namespace = production.cluster_namespace.cluster, production.cluster_namespace.namespace
    inside = ("exec", pod["metadata"]["name"], "--namespace", namespace, "--container", "run", "--", "python3", "-c", WRITES, run_id)
    writes = cluster.must(*inside).splitlines()
    production.held.let_go(run_id)
    ended = production.until(TEAM, SUBJECT, lambda row: row["state"] == "succeeded")

    assert mounts(container) == {PLACE: True, f"{PLACE}/.runs/{run_id}": False}
    assert writes == ["Read-only file system", "written"]
    assert {one["name"]: one.get("value") for one in container["env"]}["POSTGRES_USER"] == "gregory_predict"
    assert (ended["success"], ended["metrics"]["new"], ended["run_id"]) == (True, MEMBERS, run_id)
    assert require_true_values(database) == MEMBERS
    marked = "SELECT count(*) FROM gregory_mlpredictions WHERE predicted_relevant <> (probability_score >= %s)"
    assert database.execute(marked, [ended["metrics"]["prob_threshold"]]) == [(0,)]


def test_a_submitter_that_sees_the_models_starts_no_pod_without_an_article(predicted: tuple[Production, LiveDatabase]):
    production, database = predicted
    predict(production, "--algo", "lgbm_tfidf", "--wait")
    before = database.execute("SELECT count(*) FROM gregory_runs_trainingrun")
    seeing = {"GREGORY_MODELS_MOUNTED": "true", "TEST_MODELS_DIR": str(production.models)}

    (row,) = json.loads(predict(production, "--wait", "--output", "json", **seeing).stdout)
    planned = json.loads(predict(production, "--algo", "lgbm_tfidf", "--dry-run", "--output", "json").stdout)

    assert (row["result"], row["processed"]) == ("success", 0)
    assert database.execute("SELECT count(*) FROM gregory_runs_trainingrun") == before
    assert [one["request"]["kind"] for one in planned["requests"]] == ["Job"]
    assert [(one["algorithm"], one["articles"]) for one in planned["predictions"]] == [("lgbm_tfidf", None)]
