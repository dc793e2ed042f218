"""The image of Dockerfile.train trains demo articles through Jobs. These cases need TensorFlow."""

import json
import re
from collections.abc import Iterator

import pytest

from gregory.launch.kubernetes.diagnose.pod_status import is_finished
from gregory.runs.spec import new_run_id
from tests.kubernetes.production import Production, producing
from tools import postgresql
from tools.cluster.cluster import GPU, NODE, Cluster
from tools.cluster.namespace import ClusterNamespace

pytestmark = pytest.mark.slow

TEAM, SUBJECT = "neurology", "migraine-prevention"
OURS = ("--subject", SUBJECT)
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO"


@pytest.fixture(scope="module")
def demo(
    cluster: Cluster, cluster_postgresql: postgresql.Server, training_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """The GPUs of the node are imaginary, so the cluster file does not require one."""
    cluster_namespace = ClusterNamespace(cluster=cluster, namespace=f"runs-{new_run_id()}", folder=tmp_path_factory.mktemp("demo"))
    with producing(cluster_namespace, cluster_postgresql, training_image) as production:
        cluster_namespace.config |= {
            "gpu": {"count": 1, "required": False},
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "6Gi"}},
            "sharedMemory": {"size": "256Mi"},
        }
        # More epochs would not test more.
        production.installation.set_hyperparameters("bert: {epochs: 1}\n")
        production.as_owner("load_demo")
        yield production


def test_demo_subject_is_trained(demo: Production):
    done = demo.train(TEAM, *OURS, "--wait", "--verbose", "3", algorithms="pubmed_bert,lgbm_tfidf")

    rows = demo.rows(TEAM)
    assert [(row["algorithm"], row["success"], row["state"], row["node"]) for row in rows] == [
        (algorithm, True, "succeeded", NODE) for algorithm in ("pubmed_bert", "lgbm_tfidf")
    ]
    assert demo.verify().strip() == "2 version folders, all complete and unchanged"
    assert list(demo.models.glob("[!.]*/[!.]*/.runs/[!.]*")) == []
    run_id, label = rows[0]["run_id"], f"{TEAM}/{SUBJECT}"

    told = done.stdout.splitlines()
    assert f"{label}: running on {NODE}" in told
    assert told.index(f"{label}: running on {NODE}") < told.index(f"{label}: succeeded")
    for row in rows:
        assert f"{label}/{row['algorithm']}: version {row['version']}: success" in done.stdout

    # The run closes its rows before the cluster completes the Job.
    demo.cluster_namespace.cluster.until(lambda: is_finished(demo.jobs_of(run_id)[0]), what="the Job to be complete")
    (pod,) = demo.pods_of(run_id)
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"][GPU] == "1"
    assert json.loads(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"])["run_id"] == run_id

    log = demo.cluster_namespace.kubectl("logs", f"job/{row['job']}")
    lines = log.splitlines()
    assert "\r" not in log
    assert re.match(rf"{STAMP} {run_id} {label}: Started run {run_id}: pubmed_bert, lgbm_tfidf; all articles", lines[0]), lines[0]
    for row in rows:
        assert f"{label}/{row['algorithm']}: Finished version {row['version']} in " in log
    assert demo.installation.must("training_runs", "logs", run_id).splitlines() == lines
    assert run_id in demo.installation.must("training_runs", "list")
    assert f"kubectl logs --follow job/{row['job']} --namespace {demo.cluster_namespace.namespace}" in demo.installation.must(
        "training_runs", "show", run_id
    )


def test_required_gpu_is_missing(demo: Production):
    """C24: the run never uses the CPU instead. A failure of CUDA needs a device."""
    done = demo.train(TEAM, *OURS, "--wait", code=1, gpu={"count": 1, "required": True})

    row = demo.row(TEAM, SUBJECT)
    assert (row["success"], row["reason"], row["run_reason"], row["node"]) == (False, "no_gpu", "no_gpu", NODE), row
    assert "1 of 1 training failed" in done.stderr
