"""Two nodes and one volume on a network file system: runs publish and continue across nodes, and a node is cut off.

Not in CI: `python -m pytest tests/kubernetes/test_two_nodes.py --two-nodes`. A second kubelet and the file server take minutes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gregory.ml import artifacts
from gregory.runs.spec import new_run_id
from tests.kubernetes import actions, pod_processes
from tests.kubernetes.production import Production, Row, producing
from tests.strict import need
from tools import postgresql
from tools.chaos import scripted_work
from tools.cluster import run_image, second_node, shared_volume
from tools.cluster.cluster import NODE, Cluster
from tools.cluster.namespace import ClusterNamespace

pytestmark = pytest.mark.slow

TEAM = "nodes"
# Columns that a late process could change.
WRITTEN = ("success", "version", "metrics", "artifact", "error", "state", "run_reason", "attempt", "token", "job", "node")
FIRST, SECOND = ({"kubernetes.io/hostname": name} for name in (NODE, second_node.NAME))


@pytest.fixture(scope="module")
def production(cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None) -> Iterator[Production]:
    """An installation on the machine of the first node. Both nodes have the volume, each with a client of its own."""
    need(all(Path(program).exists() for program in shared_volume.PROGRAMS), what="MooseFS", remedy=shared_volume.REMEDY)
    cluster.add_node()
    try:
        cluster.copy_image(run_image.SCRIPTED)
        namespace = ClusterNamespace(cluster=cluster, namespace=f"nodes-{new_run_id()}", folder=shared_volume.mounted(cluster))
        with producing(namespace, cluster_postgresql, run_image.SCRIPTED) as production:
            yield production
    finally:
        cluster.remove_node()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """The lock of a file for the block."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def succeeded(row: Row) -> bool:
    return bool(row["state"] == "succeeded")


def marks(production: Production, row: Row) -> set[str]:
    return {path.name for path in (production.models / scripted_work.MARKS / row["run_id"]).iterdir()}


def test_each_node_sees_the_models_of_the_other(production: Production):
    production.subjects(TEAM, "first")
    production.train(TEAM, "--subject", "first", "--wait", nodeSelector=SECOND)
    row = production.row(TEAM, "first")
    assert (row["success"], row["node"]) == (True, second_node.NAME)
    manifest = production.models / row["artifact"] / artifacts.MANIFEST
    published = manifest.read_bytes()
    assert production.verify()

    production.train(TEAM, "--subject", "first", "--wait", nodeSelector=FIRST)

    again = production.row(TEAM, "first")
    assert (again["success"], again["node"]) == (True, NODE)
    assert again["version"] == f"{row['version']}_2"
    assert manifest.read_bytes() == published
    assert production.verify()


def test_an_attempt_on_the_other_node_continues_the_finished_work(production: Production):
    production.subjects(TEAM, "resumed")
    with production.held.all(stage="train-lstm"):
        production.train(TEAM, "--subject", "resumed", algorithms="lgbm_tfidf,lstm", nodeSelector=SECOND)
        row = production.at_work(TEAM, "resumed", stage="train-lstm")
    production.held.let_go(row["run_id"], on=False)
    (pod,) = production.pods_of(row["run_id"])
    assert pod["spec"]["nodeName"] == second_node.NAME

    actions.evict_pod(production.cluster_namespace, pod["metadata"]["name"])

    with production.reconciling(nodeSelector=FIRST):
        row = production.until(TEAM, "resumed", succeeded)
    assert (row["attempt"], row["node"]) == (2, NODE)
    assert {"1-lgbm_tfidf.done", "2-lstm.done"} <= marks(production, row)
    assert "2-lgbm_tfidf.begun" not in marks(production, row)
    assert [one["success"] for one in production.rows(TEAM) if one["subject"] == "resumed"] == [True, True]
    assert production.verify()


def test_a_node_that_is_cut_off_while_it_publishes_damages_nothing(production: Production):
    """Its process waits for the lock of the fence. It lives on without its kubelet, and its link comes back after the next attempt."""
    cluster, subject = production.cluster_namespace.cluster, "cut"
    production.subjects(TEAM, subject)
    with production.held.all():
        production.train(TEAM, "--subject", subject, nodeSelector=SECOND)
        row = production.at_work(TEAM, subject)
    run_id = row["run_id"]
    versions = production.models / TEAM / subject / "lgbm_tfidf"
    with locked(versions.parent / ".runs" / run_id / "fence"):
        production.held.let_go(run_id)
        stage = "SELECT stage FROM gregory_runs_algorithmrun WHERE run_id = %s"
        cluster.until(lambda: production.sql(stage, run_id) == [{"stage": "publish"}], what="the publication to begin")
        cluster.kill(second_node.KUBELET)
        second_node.cut()
    try:
        old = pod_processes.of_run(run_id)
        assert old
        cluster.until(lambda: not cluster.is_ready(second_node.NAME), what="the node to be lost")
        cluster.must("delete", "node", second_node.NAME)
        with production.reconciling(nodeSelector=FIRST):
            ended = production.until(TEAM, subject, succeeded)
        assert (ended["success"], ended["attempt"], ended["node"]) == (True, 2, NODE)
        assert any("node_lost: " in event["message"] for event in production.events(run_id))
        published = (production.models / ended["artifact"] / artifacts.MANIFEST).read_bytes()
    finally:
        second_node.connect()
    cluster.until(lambda: not set(old) & set(pod_processes.of_run(run_id)), what="the old attempt to end", seconds=600)

    assert [path.name for path in versions.iterdir()] == [ended["version"]]
    assert (production.models / ended["artifact"] / artifacts.MANIFEST).read_bytes() == published
    now = production.row(TEAM, subject)
    assert [now[column] for column in WRITTEN] == [ended[column] for column in WRITTEN]
    assert production.verify()
    cluster.heal()
