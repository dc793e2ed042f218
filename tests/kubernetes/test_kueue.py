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

from gregory.launch.kubernetes.diagnose.pod_status import is_finished
from gregory.launch.kubernetes.labels import KUEUE_JOB_UID
from gregory.launch.kubernetes.pod_patch import merged
from gregory.preflight.cluster import check_cluster
from gregory.preflight.finding import CheckResult
from tests.kubernetes import proxy as proxies
from tests.kubernetes.production import Production, Row
from tests.kubernetes.proxy import Proxy
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
CLUSTER_QUEUES = {
    "one": QUOTA_OF_ONE, "short": QUOTA_OF_ONE, "gpus": {GPU: "2"}, "l4": QUOTA_OF_ONE, "drained": QUOTA_OF_ONE, "deleted": QUOTA_OF_ONE,
}  # fmt: skip
# Those with nodes of their own. The flavor of the others has no labels.
FLAVORS = {"l4": {"gregory.test/gpu": "l4"}}
LOCAL_QUEUES = {name: name for name in CLUSTER_QUEUES} | {"lost": "nowhere"}
TEAMS: dict[str, dict[str, Any]] = {
    "one": {"kueue": {"queueName": "one"}},
    "urgent": {"kueue": {"queueName": "one", "priorityClass": "high"}},
    "short": {"kueue": {"queueName": "short"}, "labels": {"kueue.x-k8s.io/max-exec-time-seconds": "3"}},
    "gpus": {"kueue": {"queueName": "gpus"}},
    "lost": {"kueue": {"queueName": "lost"}},
    "missing": {"kueue": {"queueName": "missing"}},
    "a100": {"kueue": {"queueName": "l4"}, "nodeSelector": {"gregory.test/gpu": "a100"}},
    "classless": {"kueue": {"queueName": "one", "priorityClass": "none"}},
}
# Their trainings are stopped, until Kueue takes their quota away.
STOPPED: dict[str, dict[str, Any]] = {"drained": {"kueue": {"queueName": "drained"}}, "deleted": {"kueue": {"queueName": "deleted"}}}
# Their runs are submitted by tests.
LATER: dict[str, dict[str, Any]] = {
    "outage": {"kueue": {"queueName": "short"}},
    "unready": {"kueue": {"queueName": "short"}, "image": {"tag": "absent"}},
}
# Settings of a manager that gives up a run with the first deadline for its pods, and takes Jobs without a queue.
IMPATIENT = """
waitForPodsReady:
  timeout: 5s
  requeuingStrategy:
    backoffLimitCount: 0
manageJobsWithoutQueueName: true
"""
# Why the run of the team waits, in Kueue's words, and what preflight finds before.
WAITS = {
    "one": ("insufficient unused quota for cpu in flavor default, 10m more needed", ""),
    "gpus": (
        "resource (cpu|memory|ephemeral-storage) unavailable in ClusterQueue",
        "LocalQueue gpus never admits a run: its ClusterQueue has no quota for cpu, ephemeral-storage, memory",
    ),
    "lost": ("ClusterQueue nowhere doesn't exist", "LocalQueue lost admits no run: ClusterQueueDoesNotExist: "),
    "missing": ("LocalQueue missing doesn't exist", "there is no LocalQueue missing"),
    "a100": ("flavor l4 doesn't match node affinity", ""),
    "classless": ("Kueue has made no Workload for it", "there is no WorkloadPriorityClass none: Kueue admits no run"),
}


def named(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, **content}


def cluster_queue(name: str, quota: dict[str, str]) -> dict[str, Any]:
    resources = [{"name": resource, "nominalQuota": value} for resource, value in quota.items()]
    flavor = name if name in FLAVORS else "default"
    group = {"coveredResources": list(quota), "flavors": [{"name": flavor, "resources": resources}]}
    spec = {"namespaceSelector": {}, "resourceGroups": [group], "preemption": {"withinClusterQueue": "LowerPriority"}}
    return named("ClusterQueue", name, spec=spec)


@pytest.fixture(scope="module")
def with_kueue(cluster: Cluster) -> Iterator[None]:
    need(kueue.usable() and helm.usable(), what="Kueue or Helm", remedy=REMEDY)
    with kueue.installed(cluster):
        cluster.apply(
            named("ResourceFlavor", "default", spec={}),
            *(named("ResourceFlavor", name, spec={"nodeLabels": labels}) for name, labels in FLAVORS.items()),
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
    others = ((team, "any") for team in (*TEAMS, *STOPPED, *LATER) if team != "short")
    production.subjects_of_teams([("one", "first"), ("one", "late"), ("short", "long"), *others])
    with submitter(production) as kubeconfig, production.reconciling(kubeconfig=kubeconfig), ThreadPoolExecutor() as pool:
        beside = [pool.submit(production.train, team, **TEAMS[team]) for team in TEAMS if TEAMS[team]["kueue"]["queueName"] != "one"]
        # Its row waits the longest for its words, and it takes no quota.
        production.train("classless", **TEAMS["classless"])
        with production.held.all():
            begun = [pool.submit(production.train, team, **STOPPED[team]) for team in STOPPED]
            production.train("one", "--subject", "first", **TEAMS["one"])
            for submission in begun:
                submission.result()
            for team, subject in (("one", "first"), *((team, "any") for team in STOPPED)):
                production.at_work(team, subject)
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


@pytest.fixture
def proxy(production: Production) -> Iterator[Proxy]:
    with proxies.running(production.cluster_namespace.cluster.kubeconfig.parent) as proxy:
        yield proxy


def wrong(production: Production, **changes: Any) -> list[str]:
    """What preflight finds with these changes of the cluster file."""
    namespace = replace(production.cluster_namespace, config=merged(production.cluster_namespace.config, changes))
    installation = namespace.installation()
    findings = check_cluster(installation.environment, inherited=installation.inherited)
    return [found.summary for found in findings if found.result is not CheckResult.OK]


def ended(row: Row) -> bool:
    return row["state"] in ("succeeded", "failed", "cancelled") and bool(row["finished"])


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
    found = wrong(queues, **TEAMS[team])

    _, expected = WAITS[team]
    assert [words.startswith(expected) for words in found if "Queue" in words or "Priority" in words] == [True] * bool(expected), found


def test_preflight_finds_a_queue_that_takes_the_jobs_of_the_chart(queues: Production):
    cluster, name = queues.cluster_namespace.cluster, f"{queues.cluster_namespace.namespace}-default"
    queue = named("LocalQueue", "default", spec={"clusterQueue": "one"})
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.apply(queue | {"metadata": {"name": "default", "namespace": name}})
    taken = f"Kueue takes the chart's own Jobs and pods in namespace {name}: its LocalQueue default is that of every Job without a queue; "

    # Kueue's webhook knows the queue a moment later.
    cluster.until(lambda: any(words.startswith(taken) for words in wrong(queues, namespace=name)), what="preflight to find the queue")

    cluster.must("delete", "localqueue", "default", "--namespace", name)
    cluster.must("delete", "namespace", name, "--wait=false")


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


def test_runs_that_kueue_stops_go_on_at_their_first_attempt(queues: Production):
    """The queue of one is drained. The Workload of the other is deleted."""
    namespace, rows = queues.cluster_namespace, {team: queues.row(team, "any") for team in STOPPED}
    for row in rows.values():
        queues.held.let_go(row["run_id"], on=False)

    drain(queues, "HoldAndDrain")
    namespace.kubectl("delete", "workloads", "--wait=false", "--selector", f"{KUEUE_JOB_UID}={rows['deleted']['uid']}")

    queues.until(
        "drained", "any", lambda row: re.match("queued: waits for Kueue's queue drained: .*(stopped|inactive)", row["waiting_for"])
    )
    assert any(words.startswith("LocalQueue drained admits no run: ") for words in wrong(queues, **STOPPED["drained"]))
    drain(queues, "None")
    for team, before in rows.items():
        row = queues.until(team, "any", ended)
        assert (row["success"], row["attempt"], row["retries"], row["uid"]) == (True, 1, 0, before["uid"]), row
        assert "summarise: done by an earlier attempt" in namespace.kubectl("logs", f"job/{row['job']}")


def drain(production: Production, policy: str) -> None:
    patch = json.dumps({"spec": {"stopPolicy": policy}})
    production.cluster_namespace.cluster.must("patch", "clusterqueue", "drained", "--type=merge", "--patch", patch)


def test_while_kueues_webhook_is_down_no_run_is_lost(queues: Production, proxy: Proxy):
    """One run waits for its submission, and one ends. Then the manager is back, with other settings."""
    cluster = queues.cluster_namespace.cluster
    with queues.held.all():
        queues.train("one", "--subject", "late", **TEAMS["one"])
        late = queues.at_work("one", "late")

    def stop_kueue(method: str, path: str) -> None:
        if method == "POST" and path.endswith("/jobs"):
            proxy.answer = lambda method, path: None
            kueue.stop(cluster)

    proxy.answer = stop_kueue
    variables = proxies.through(proxy, queues.cluster_namespace, queues.cluster_file(**LATER["outage"]))
    queues.installation.manage("train_models", "--team", "outage", "--all-articles", "--algo", "lgbm_tfidf", **variables)

    waiting = queues.until("outage", "any", lambda row: "failed calling webhook" in row["waiting_for"])
    assert (waiting["state"], waiting["success"], waiting["attempt"], queues.jobs_of(waiting["run_id"])) == ("pending", None, 1, [])
    queues.held.let_go(late["run_id"])
    assert queues.until("one", "late", ended)["success"]
    (pod,) = cluster.until(
        lambda: [pod for pod in queues.pods_of(late["run_id"]) if pod["status"]["phase"] == "Succeeded"], what="its pod to have ended"
    )
    assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert not is_finished(queues.jobs_of(late["run_id"])[0])

    kueue.start(cluster, settings=IMPATIENT)
    # The cluster file of the reconciler names no queue, and this manager takes every Job.
    row = queues.until("outage", "any", lambda row: row["waiting_for"].startswith("queued: Job "))
    assert (row["state"], row["success"], row["attempt"], len(queues.jobs_of(row["run_id"]))) == ("submitted", None, 1, 1)
    assert any("it manages Jobs without a queue" in words for words in wrong(queues))


def test_a_run_that_is_not_ready_in_time_ends_with_kueues_words(queues: Production):
    """The manager has the settings of the test before."""
    queues.train("unready", **LATER["unready"])

    row = queues.until("unready", "any", ended)

    assert (row["success"], row["reason"], row["attempt"]) == (False, "not_started", 1), row
