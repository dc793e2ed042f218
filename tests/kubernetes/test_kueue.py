"""Runs in queues of a real Kueue: why they wait, and how they go on or end. The reconciler has the rights of the chart's preset."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gregory.preflight.cluster import check_cluster
from gregory.preflight.finding import CheckResult
from tests.kubernetes.production import Production, Row
from tests.strict import need
from tools.chaos import scripted_work
from tools.chart import helm
from tools.chart.helm import PRESETS, RELEASE
from tools.cluster import kueue
from tools.cluster.cluster import GPU, Cluster
from tools.go_programs import REMEDY

pytestmark = pytest.mark.slow

API = "kueue.x-k8s.io/v1beta2"
# Each team has the cluster file of one queue. The quota of `one` is that of one run.
QUOTA_OF_ONE = {"cpu": "10m", "memory": "1Gi", "ephemeral-storage": "1Gi"}
CLUSTER_QUEUES = {"one": QUOTA_OF_ONE, "short": QUOTA_OF_ONE, "gpus": {GPU: "2"}}
LOCAL_QUEUES = {"one": "one", "short": "short", "gpus": "gpus", "lost": "nowhere"}
TEAMS: dict[str, dict[str, Any]] = {
    "one": {"kueue": {"queueName": "one"}},
    "urgent": {"kueue": {"queueName": "one", "priorityClass": "high"}},
    "short": {"kueue": {"queueName": "short"}, "labels": {"kueue.x-k8s.io/max-exec-time-seconds": "3"}},
    "gpus": {"kueue": {"queueName": "gpus"}},
    "lost": {"kueue": {"queueName": "lost"}},
    "missing": {"kueue": {"queueName": "missing"}},
    "classless": {"kueue": {"queueName": "one", "priorityClass": "none"}},
}
# Why the run of the team waits, in Kueue's words, and what preflight finds before.
WAITS = {
    "one": ("insufficient unused quota for cpu in flavor default, 10m more needed", ""),
    "gpus": (
        "resource (cpu|memory|ephemeral-storage) unavailable in ClusterQueue",
        "LocalQueue gpus never admits a run: its ClusterQueue has no quota for cpu, ephemeral-storage, memory",
    ),
    "lost": ("ClusterQueue nowhere doesn't exist", "LocalQueue lost admits no run: ClusterQueueDoesNotExist: "),
    "missing": ("LocalQueue missing doesn't exist", "there is no LocalQueue missing"),
    "classless": ("Kueue has made no Workload for it", "there is no WorkloadPriorityClass none: Kueue admits no run"),
}


def named(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, **content}


def cluster_queue(name: str, quota: dict[str, str]) -> dict[str, Any]:
    resources = [{"name": resource, "nominalQuota": value} for resource, value in quota.items()]
    group = {"coveredResources": list(quota), "flavors": [{"name": "default", "resources": resources}]}
    spec = {"namespaceSelector": {}, "resourceGroups": [group], "preemption": {"withinClusterQueue": "LowerPriority"}}
    return named("ClusterQueue", name, spec=spec)


@pytest.fixture(scope="module")
def with_kueue(cluster: Cluster) -> Iterator[None]:
    need(kueue.usable() and helm.usable(), what="Kueue or Helm", remedy=REMEDY)
    with kueue.installed(cluster):
        cluster.apply(
            named("ResourceFlavor", "default", spec={}),
            named("WorkloadPriorityClass", "high", value=1000),
            *(cluster_queue(name, quota) for name, quota in CLUSTER_QUEUES.items()),
        )
        yield


@pytest.fixture(scope="module")
def queues(with_kueue: None, production: Production) -> Iterator[Production]:
    """Every team has a run in its queue. The first run of `one` trains and is stopped. That of `short` works for too long."""
    namespace = production.cluster_namespace
    namespace.config["kueue"] = {"readWorkloads": True}
    for name, behind in LOCAL_QUEUES.items():
        namespace.cluster.apply(
            named("LocalQueue", name, spec={"clusterQueue": behind}) | {"metadata": {"name": name, "namespace": namespace.namespace}}
        )
    seconds = {"any/lgbm_tfidf": 0.2, "first/lgbm_tfidf": 0.2, "long/lgbm_tfidf": 600.0}
    (production.models / scripted_work.MARKS / scripted_work.SECONDS).write_text(json.dumps(seconds))
    production.subjects_of_teams([("one", "first"), ("short", "long"), *((team, "any") for team in TEAMS if team != "short")])
    with submitter(production) as kubeconfig, production.reconciling(kubeconfig=kubeconfig), ThreadPoolExecutor() as pool:
        beside = [pool.submit(production.train, team, **TEAMS[team]) for team in TEAMS if TEAMS[team]["kueue"]["queueName"] != "one"]
        # Its row waits the longest for its words, and it takes no quota.
        production.train("classless", **TEAMS["classless"])
        with production.held.all():
            production.train("one", "--subject", "first", **TEAMS["one"])
            production.at_work("one", "first")
        production.train("one", "--subject", "any", **TEAMS["one"])
        for submission in beside:
            submission.result()
        yield production


@contextmanager
def submitter(production: Production) -> Iterator[Path]:
    """The kubeconfig of the chart's submitter with the preset of Kueue."""
    namespace = production.cluster_namespace
    objects = helm.template("--values", str(PRESETS / "kueue.yaml"), namespace=namespace.namespace)
    # One Role is in kube-system: without it, no account knows that the Jobs of another account are gone.
    account = [one for one in objects if one["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    namespace.cluster.apply(*account)
    yield namespace.kubeconfig_of(f"{RELEASE}-submitter")
    namespace.cluster.must("delete", "--filename", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": account}))


def ended(row: Row) -> bool:
    return row["success"] is not None and bool(row["finished"])


@pytest.mark.parametrize("team", WAITS)
def test_a_row_tells_in_kueues_words_why_its_run_waits(queues: Production, team: str):
    words, _ = WAITS[team]

    row = queues.until(team, "any", lambda row: re.search(words, row["waiting_for"]))

    queue = TEAMS[team]["kueue"]["queueName"]
    assert row["waiting_for"].startswith(f"queued: waits for Kueue's queue {queue}: ")
    assert (row["state"], row["success"], row["attempt"], queues.pods_of(row["run_id"])) == ("submitted", None, 1, [])


def test_the_list_of_runs_has_the_words_too(queues: Production):
    listed = " ".join(queues.installation.manage("training_runs", "list").stdout.split())

    for team in WAITS:
        assert re.search(WAITS[team][0], listed)


@pytest.mark.parametrize("team", WAITS)
def test_preflight_finds_before_what_admits_no_run(queues: Production, team: str):
    config = queues.cluster_namespace.config
    namespace = replace(queues.cluster_namespace, config=config | {"kueue": config["kueue"] | TEAMS[team]["kueue"]})
    installation = namespace.installation()

    findings = list(check_cluster(installation.environment, inherited=installation.inherited))

    wrong = [found.summary for found in findings if found.result is not CheckResult.OK]
    _, expected = WAITS[team]
    assert [words.startswith(expected) for words in wrong if "Queue" in words or "Priority" in words] == [True] * bool(expected), wrong


def test_a_preempted_run_goes_on_at_its_first_attempt(queues: Production):
    first = queues.row("one", "first")
    queues.held.let_go(first["run_id"], on=False)

    with queues.held.all():
        queues.train("urgent", **TEAMS["urgent"])
        urgent = queues.at_work("urgent", "any")

    words = "queued: waits for Kueue's queue one: .*(Preempted to accommodate a workload|insufficient unused quota for cpu)"
    queues.until("one", "first", lambda row: re.match(words, row["waiting_for"]))
    queues.held.let_go(urgent["run_id"])
    for team, subject in (("urgent", "any"), ("one", "first"), ("one", "any")):
        row = queues.until(team, subject, ended)
        assert (row["success"], row["attempt"], row["retries"]) == (True, 1, 0), row
    events = queues.events(first["run_id"])
    assert [event["kind"] for event in events] == ["suspended"], events
    assert len(queues.jobs_of(first["run_id"])) == 1
    assert "summarise: done by an earlier attempt" in queues.cluster_namespace.kubectl("logs", f"job/{first['job']}")


def test_a_run_that_kueue_gives_up_ends_with_its_words(queues: Production):
    row = queues.until("short", "long", ended)

    assert (row["success"], row["reason"], row["state"], row["attempt"]) == (False, "deadline", "failed", 1), row
    assert re.search("Kueue will not start Job .* again: .*maximum execution time.*; raise the label", row["error"])
    assert (queues.jobs_of(row["run_id"]), queues.pods_of(row["run_id"])) == ([], [])
