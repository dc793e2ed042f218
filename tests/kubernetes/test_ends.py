"""How containers end on a real cluster: each cause, with its observation. All Jobs start at once in one namespace.

test_rows_ends.py covers the causes of `IN_ROWS` down to the database row. `--record` runs them here too.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gregory.launch.runner import Observation, Status
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle
from tests.kubernetes.causes import CAUSES, CLAIMED, SUCCESS, TEMPLATES, Cause, Change, outcome
from tools.cluster import devices
from tools.cluster.cluster import NODE, Cluster
from tools.cluster.namespace import ClusterNamespace, pod_of, prepared_namespace

pytestmark = pytest.mark.slow

IN_ROWS = {
    "out_of_memory", "no_report", "deadline", "admission", "disk", "image_pull", "unschedulable", "no_such_node", "service_account",
    "secret_key", "claim", "no_claim",
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", chosen(metafunc.config))


def chosen(config: pytest.Config) -> list[str]:
    """The causes of this session. Kubernetes without the API of devices removes the claim from a pod, so there the pod just runs."""
    left_out = (set() if config.getoption("--record") else IN_ROWS) | (set() if devices.are_allocated() else CLAIMED)
    return [name for name in CAUSES if name not in left_out]


@dataclass(frozen=True)
class AllStarted:
    cluster_namespace: ClusterNamespace
    handles: dict[str, RunHandle]


@pytest.fixture(scope="module")
def all_started(
    request: pytest.FixtureRequest, cluster: Cluster, base_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AllStarted]:
    """One Job for each cause."""
    with prepared_namespace(cluster, base_image, tmp_path_factory.mktemp("causes")) as cluster_namespace:
        cluster_namespace.config["deadlines"] = {"pendingSeconds": 2, "imagePullSeconds": 2, "stallSeconds": 2}
        unbound = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}}
        metadata = {"name": "unbound", "namespace": cluster_namespace.namespace}
        cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": unbound})
        if devices.are_allocated():
            templates = (devices.template(name, *wanted, namespace=cluster_namespace.namespace) for name, wanted in TEMPLATES.items())
            cluster.apply(*devices.objects(), *templates)
        yield AllStarted(
            cluster_namespace,
            {name: _started(cluster_namespace, CAUSES[name]) for name in chosen(request.config)},
        )
        if devices.are_allocated():
            cluster.delete(*devices.objects())


def _started(cluster_namespace: ClusterNamespace, cause: Cause) -> RunHandle:
    return cluster_namespace.start(cause.code, spec=cause.spec, change=_with_time(cause.change))


def _with_time(change: Change | None) -> Change:
    """Raise the deadlines of Job and pod above the deadlines of the cluster file, which the test checks."""

    def apply(job: dict[str, Any]) -> None:
        job["spec"]["activeDeadlineSeconds"] = 600
        pod_of(job)["activeDeadlineSeconds"] = 600
        if change is not None:
            change(job)

    return apply


def test_observation_names_the_cause(all_started: AllStarted, name: str, record: Callable[[str], None]):
    cause = CAUSES[name]

    def is_observed(seen: Observation) -> object:
        # On a busy node a container needs time to begin.
        return seen.status is Status.TERMINATED or (cause.status is Status.PENDING and re.fullmatch(cause.detail, seen.text, re.DOTALL))

    seen = all_started.cluster_namespace.until(all_started.handles[name], is_observed)
    record(name)

    assert (seen.status, seen.reason) == (cause.status, cause.reason), seen.text
    # A node can report the eviction before it reports the exit code of the container.
    exit_code = getattr(seen.diagnosis, "exit_code", None)
    assert exit_code == cause.exit_code or (seen.reason is Reason.EVICTED and exit_code is None), seen.text
    assert re.fullmatch(cause.detail, seen.text, re.DOTALL), seen.text


def test_observation_contains_the_report_as_written(all_started: AllStarted):
    seen = all_started.cluster_namespace.until(all_started.handles["reported"], lambda seen: seen.status is Status.TERMINATED)

    assert json.loads(seen.report) == json.loads(outcome(SUCCESS))
    assert seen.node == NODE
