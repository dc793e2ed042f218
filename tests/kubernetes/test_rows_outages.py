"""Rows while something of the cluster is away: node, API server, database, reconciler, or the answer to a request. Real trainings.

The old writer of C16 would live on a node that the cluster has lost; the one node here kills what it does not know any more as soon as
it is back. So its pod is cut off from its Job and from whoever looks, and frozen, which is as much as a lost node does.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from gregory.launch.kubernetes.diagnose.pod_status import is_finished
from gregory.ml.artifacts import outcome_file
from tests.kubernetes import actions, pod_processes
from tests.kubernetes import proxy as proxies
from tests.kubernetes.production import Production, Row
from tests.kubernetes.proxy import Proxy
from tools.cluster import network
from tools.cluster.binaries import IPTABLES
from tools.cluster.cluster import NODE

pytestmark = pytest.mark.slow

TEAM = "outages"
SUBJECTS = (
    "unread", "uncreated", "unnoted", "several", "ending", "partition", "followed", "unfollowed", "killed", "back", "told", "gone",
    "erased", "cancelled",
)  # fmt: skip
# Nothing that works is left by what is done to these.
LATER = ("node", "namespace")
HEALTHY, NAMES = "healthy", tuple(f"healthy-{number}" for number in range(6))
# They wait for their turn with a GPU that nobody has, so that they cost nothing.
WAITING = {"gpu": {"count": 3, "required": False}}


@pytest.fixture(scope="module")
def at_work(production: Production) -> Callable[[str], Row]:
    """The row of a training that stands still in the middle. Most begin together, before the first test."""
    for team, subjects in {TEAM: SUBJECTS, HEALTHY: NAMES}.items():
        production.subjects(team, *subjects)
        production.train(team)
        for subject in subjects:
            production.held.hold(production.row(team, subject)["run_id"])
    production.subjects(TEAM, *LATER)

    def stopped(subject: str) -> Row:
        if subject in LATER:
            production.train(TEAM, "--subject", subject)
        return production.at_work(TEAM, subject)

    return stopped


AtWork = Callable[[str], Row]


def succeeded(row: Row) -> bool:
    return row["state"] == "succeeded"


def has_reported(production: Production, row: Row) -> None:
    """Beside the rows: its training is done, and the database did not take it."""
    file = outcome_file(production.models, row["run_id"])
    production.cluster_namespace.cluster.until(lambda: file.exists() and '"success":true' in file.read_text(), what="the run's own report")


def has_ended(production: Production, row: Row) -> bool:
    (job,) = production.jobs_of(row["run_id"])
    return is_finished(job)


def evict_and_wait(production: Production, row: Row) -> None:
    """Evicted, and nothing of the pod is left."""
    evict(production, row)
    production.cluster_namespace.cluster.until(
        lambda: production.pods_of(row["run_id"]) == [] and has_ended(production, row), what="its pod to be gone"
    )


def evict(production: Production, row: Row) -> None:
    (pod,) = production.pods_of(row["run_id"])
    actions.evict_pod(production.cluster_namespace, pod["metadata"]["name"])


@contextmanager
def database_away(production: Production) -> Iterator[None]:
    production.server.stop(crash=True)
    try:
        yield
    finally:
        production.server.start()


@contextmanager
def cut_off(production: Production) -> Iterator[None]:
    """Pods do not reach the database; others do."""
    rule = [
        "INPUT",
        "-i",
        network.BRIDGE,
        "-p",
        "tcp",
        "--dport",
        str(production.server.port),
        "-j",
        "REJECT",
        "--reject-with",
        "tcp-reset",
    ]
    subprocess.run([IPTABLES, "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run([IPTABLES, "-w", "-D", *rule], check=True)


@pytest.fixture
def proxy(production: Production) -> Iterator[Proxy]:
    with proxies.running(production.cluster_namespace.cluster.kubeconfig.parent) as proxy:
        yield proxy


def through(proxy: Proxy, production: Production) -> dict[str, str]:
    """The variable of somebody who knows the cluster by the proxy's address alone."""
    file = production.cluster_namespace.folder / "proxy.kubeconfig"
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    clusters, users = [{"name": "proxy", "cluster": {"server": proxy.url}}], [{"name": "nobody", "user": {}}]
    file.write_text(json.dumps({"clusters": clusters, "contexts": [context], "users": users, "current-context": "proxy"}))
    return {"KUBECONFIG": str(file), "GREGORY_CLUSTER_CONFIG": production.cluster_file()}


def test_the_api_server_is_away_while_runs_work(production: Production, at_work: AtWork):
    """C7: nothing is concluded from that."""
    for name in NAMES:
        production.at_work(HEALTHY, name)
    before = production.rows(HEALTHY)

    production.cluster_namespace.cluster.kill("kube-apiserver")
    told = production.reconcile()
    during = production.rows(HEALTHY)
    production.cluster_namespace.cluster.start("kube-apiserver")

    unknown = [line for line in told.splitlines() if f" {HEALTHY}/" in line]
    assert len(unknown) == len(NAMES)
    assert all("the Kubernetes API does not answer: " in line and "its status is unknown" in line for line in unknown), unknown
    assert all(row["unknown_since"] is not None for row in during)
    assert [row | {"unknown_since": None} for row in during] == before
    for row in before:
        production.held.let_go(row["run_id"])
    assert all(production.until(HEALTHY, name, succeeded)["attempt"] == 1 for name in NAMES)


def killing(proxy: Proxy, production: Production, *, at: Callable[[str, str], bool], before: bool) -> None:
    """A reconciler that is killed at a request to the cluster: before that is carried out, or after it, before anybody knows."""
    with production.installation.start("reconcile_runs", "--once", **through(proxy, production)) as reconciler:

        def kill(method: str, path: str) -> bool:
            if not at(method, path):
                return False
            reconciler.kill()
            reconciler.wait(10)
            return True

        if before:
            proxy.answer = lambda method, path: (500, {}) if kill(method, path) else None
        else:
            proxy.drop = kill
        reconciler.communicate(timeout=120)
    assert reconciler.returncode == -signal.SIGKILL
    proxy.answer, proxy.drop = lambda method, path: None, lambda method, path: False


def creates(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("/jobs")


class TestTheReconciler:
    """C9: whoever comes after it makes of it what it would have made."""

    @pytest.mark.parametrize(
        ("name", "at", "before"),
        [
            ("unread", lambda method, path: method == "GET" and "/jobs" in path, False),
            ("uncreated", creates, True),
            ("unnoted", creates, False),
        ],
    )
    def test_killed_while_it_tries_a_run_again(
        self, production: Production, at_work: AtWork, proxy: Proxy, name: str, at: Callable[[str, str], bool], before: bool
    ):
        row = at_work(name)
        production.held.let_go(row["run_id"], on=False)
        evict_and_wait(production, row)

        killing(proxy, production, at=at, before=before)
        assert production.row(TEAM, name)["success"] is None
        production.reconcile()

        self._is_tried_again_once(production, name)

    def test_several_at_once(self, production: Production, at_work: AtWork):
        row = at_work("several")
        production.held.let_go(row["run_id"], on=False)
        evict_and_wait(production, row)

        with ThreadPoolExecutor(3) as pool:
            told = list(pool.map(lambda number: production.reconcile(), range(3)))

        assert sum("tried again (" in words for words in told) == 1, told
        self._is_tried_again_once(production, "several")

    def test_killed_while_it_ends_a_run(self, production: Production, at_work: AtWork, proxy: Proxy):
        row = at_work("ending")
        production.age(row["run_id"], "progress_at", 1801)

        killing(proxy, production, at=lambda method, path: method == "DELETE" and "/jobs/" in path, before=False)
        announced = production.row(TEAM, "ending")
        assert (announced["success"], announced["run_reason"]) == (None, "stalled")
        production.cluster_namespace.cluster.until(lambda: production.pods_of(row["run_id"]) == [], what="its pod to be gone")
        production.reconcile()
        production.age(row["run_id"], "missing_since", 121)
        production.reconcile()

        row = production.row(TEAM, "ending")
        assert (row["success"], row["reason"], row["state"]) == (False, "stalled", "failed")
        assert row["error"].startswith("stalled: no progress for ")
        assert production.jobs_of(row["run_id"]) == []

    @staticmethod
    def _is_tried_again_once(production: Production, name: str) -> None:
        row = production.until(TEAM, name, succeeded)
        assert (row["attempt"], row["retries"], row["success"]) == (2, 1, True)
        jobs = {job["metadata"]["name"]: job["metadata"]["uid"] for job in production.jobs_of(row["run_id"])}
        assert jobs.keys() == {f"gregory-train-{row['run_id']}-a{attempt}" for attempt in (1, 2)}
        assert (row["job"], row["uid"]) == (f"gregory-train-{row['run_id']}-a2", jobs[row["job"]])
        assert [event["kind"] for event in production.events(row["run_id"])] == ["retried"]


class TestTheAnswer:
    """C10."""

    def test_lost_on_the_way_back_it_makes_no_second_job(self, production: Production, proxy: Proxy):
        names = [f"lost-{number}" for number in range(5)]
        production.subjects("lost", *names)
        proxy.drop = lambda method, path: creates(method, path) and "dryRun" not in path
        given = through(proxy, production) | {"GREGORY_CLUSTER_CONFIG": production.cluster_file(**WAITING)}

        done = production.installation.manage("train_models", "--team", "lost", "--algo", "lgbm_tfidf", **given)

        assert done.returncode == 0, done.stderr
        rows = production.rows("lost")
        assert [row["state"] for row in rows] == ["submitted"] * len(names)
        for row in rows:
            assert [(job["metadata"]["name"], job["metadata"]["uid"]) for job in production.jobs_of(row["run_id"])] == [
                (row["job"], row["uid"])
            ]

    def test_a_foreign_job_of_that_name_is_not_touched(self, production: Production, proxy: Proxy):
        production.subjects("foreign", "one")
        theirs: list[Row] = []

        def come_first(method: str, path: str) -> None:
            if creates(method, path) and not theirs and (rows := production.rows("foreign")):
                metadata = {"name": f"gregory-train-{rows[0]['run_id']}-a1", "namespace": production.cluster_namespace.namespace}
                container = {"name": "any", "image": "gregory.test/none:1"}
                template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
                job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"suspend": True, "template": template}}
                production.cluster_namespace.cluster.apply(job)
                theirs.append(production.cluster_namespace.get("job", metadata["name"]))

        proxy.answer = come_first
        done = production.installation.manage("train_models", "--team", "foreign", "--algo", "lgbm_tfidf", **through(proxy, production))

        row = production.row("foreign", "one")
        name = f"gregory-train-{row['run_id']}-a1"
        assert done.returncode == 1
        assert (row["success"], row["reason"], row["state"]) == (False, "not_started", "failed")
        assert row["error"] == (
            f"a Job named {name} exists in namespace {production.cluster_namespace.namespace} and is not this run's; "
            f"remove it with: kubectl delete job {name} --namespace {production.cluster_namespace.namespace}"
        )
        assert production.cluster_namespace.get("job", name) == theirs[0]


def test_an_old_writer_that_comes_back_is_refused(production: Production, at_work: AtWork):
    """C16."""
    cluster_namespace, row = production.cluster_namespace, at_work("partition")
    run_id, (old,) = row["run_id"], production.pods_of(row["run_id"])
    processes, worker = pod_processes.of_run(run_id), production.held.worker(run_id)
    production.held.let_go(run_id, on=False)
    pod_processes.send(run_id, signal.SIGSTOP)
    cluster_namespace.kubectl("delete", "job", row["job"], "--cascade=orphan")
    cluster_namespace.kubectl("label", "pod", old["metadata"]["name"], "app.kubernetes.io/name-", "gregory-train/run-id-")
    production.reconcile()
    production.age(run_id, "missing_since", 121)
    assert "closed (deleted)" in production.reconcile()
    production.installation.must("training_runs", "retry", run_id)
    winner = production.until(TEAM, "partition", succeeded)

    # The worker first, so that its supervisor has a result when it wakes up.
    os.kill(worker, signal.SIGCONT)
    cluster_namespace.cluster.until(lambda: psutil.Process(worker).status() == psutil.STATUS_ZOMBIE, what="the old worker to be done")
    for process in set(processes) - {worker}:
        os.kill(process, signal.SIGCONT)
    cluster_namespace.cluster.until(lambda: not set(processes) & set(pod_processes.of_run(run_id)), what="the old writer to have ended")

    first, second = (found for found in production.rows(TEAM) if found["run_id"] == run_id)
    assert (first["success"], first["reason"]) == (False, "deleted")
    assert second == winner
    assert not (production.models / TEAM / "partition" / "lgbm_tfidf" / first["version"]).exists()
    assert production.verify()


class TestLogs:
    """C19: what is printed is the pod's log, and the exit code is the row's verdict."""

    def test_of_a_run_that_succeeds(self, production: Production, at_work: AtWork):
        row = at_work("followed")
        with production.installation.start("training_runs", "logs", "--follow", row["run_id"]) as following:
            production.held.let_go(row["run_id"])
            told, _ = following.communicate(timeout=120)

        assert following.returncode == 0, told
        *lines, last = told.splitlines()
        assert lines == production.cluster_namespace.kubectl("logs", f"job/{row['job']}").splitlines()
        assert last == f"run {row['run_id']} succeeded"

    def test_of_a_run_whose_pod_is_deleted(self, production: Production, at_work: AtWork):
        """It goes on with the next attempt."""
        row = at_work("unfollowed")
        with production.installation.start("training_runs", "logs", "--follow", row["run_id"]) as following:
            assert following.stdout is not None
            first = following.stdout.readline()
            evict(production, row)
            production.held.let_go(row["run_id"], on=False)
            told = first + following.stdout.read()
            following.wait(10)

        assert following.returncode == 0, told
        assert f"run {row['run_id']} attempt 2: succeeded" in told
        assert told.count(f"Started run {row['run_id']}") == 2

    def test_of_a_run_that_is_killed(self, production: Production, at_work: AtWork):
        row = at_work("killed")
        with production.installation.start("training_runs", "logs", "--follow", row["run_id"]) as following:
            production.held.let_go(row["run_id"], on=False)
            pod_processes.send(row["run_id"], signal.SIGKILL)
            told, _ = following.communicate(timeout=120)

        assert following.returncode == 1, told
        assert f"run {row['run_id']} failed (killed): pod " in told


class TestBeforeAnyRow:
    """C23."""

    @pytest.mark.parametrize(
        ("flags", "changes", "code", "told"),
        [
            (("--subject", "none"), {}, 2, "none"),
            (("--lookback-days", "0"), {}, 2, "--lookback-days"),
            ((), actions.pod_patch(dnsPolicy="Nonsense"), 1, "the cluster would refuse every Job: "),
            ((), {"serviceAccountName": "none"}, 1, "there is no ServiceAccount none "),
            (("--dry-run",), {}, 0, ""),
        ],
    )
    def test_nothing_is_written(self, production: Production, flags: tuple[str, ...], changes: dict[str, Any], code: int, told: str):
        production.subjects("checked", "any")
        command = ("train_models", "--team", "checked", "--algo", "lgbm_tfidf", *flags)

        done = production.installation.manage(*command, GREGORY_CLUSTER_CONFIG=production.cluster_file(**changes))

        assert (done.returncode, told in done.stderr) == (code, True), done.stderr
        assert production.rows("checked") == []

    def test_a_dry_run_shows_what_is_asked_for_later(self, production: Production):
        """Of a subject with as long a name as there can be, in letters that no label takes."""
        subject = "größe-und-übermaß-der-" + "ä" * 28
        production.subjects("named", subject)
        file = {"GREGORY_CLUSTER_CONFIG": production.cluster_file(**WAITING)}
        command = ("train_models", "--team", "named", "--algo", "lgbm_tfidf")
        shown = json.loads(production.installation.manage(*command, "--dry-run", "--output", "json", **file).stdout)
        assert production.rows("named") == []

        done = production.installation.manage(*command, **file)

        assert done.returncode == 0, done.stderr
        row = production.row("named", subject)
        (job,) = production.jobs_of(row["run_id"])
        assert len(job["metadata"]["name"]) <= 63
        assert job["metadata"]["annotations"]["gregory-train/subject"] == subject
        (shown_job,) = (found["request"] for found in shown["requests"])
        assert list(_missing(_without_ids(shown_job), _without_ids(job))) == []


def _without_ids(job: Row) -> Any:
    """Ids of a run that was never opened are others than those of one that was."""
    spec = next(
        variable["value"] for variable in job["spec"]["template"]["spec"]["containers"][0]["env"] if variable["name"] == "GREGORY_RUN_SPEC"
    )
    run = json.loads(spec.replace("$$", "$"))
    text = json.dumps(job)
    for value in (run["run_id"], run["attempt_token"]):
        text = text.replace(value, "ID")
    found = json.loads(text)
    for variable in found["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "GREGORY_RUN_SPEC":
            said = json.loads(variable["value"].replace("$$", "$"))
            variable["value"] = {key: said[key] for key in said if key not in ("algorithms", "window")}
    return found


def _missing(asked: Any, given: Any, where: str = "") -> Iterator[str]:
    """What of `asked` is not in `given`, to which a server adds its defaults."""
    if isinstance(asked, dict) and isinstance(given, dict):
        for key in asked:
            yield from _missing(asked[key], given.get(key), f"{where}.{key}")
    elif isinstance(asked, list) and isinstance(given, list) and len(asked) == len(given):
        for number, (one, other) in enumerate(zip(asked, given, strict=True)):
            yield from _missing(one, other, f"{where}[{number}]")
    elif asked != given:
        yield f"{where}: {asked!r} is {given!r}"


class TestTheDatabase:
    """C8. After the others: for a minute after its start nobody is judged by silence."""

    def test_away_when_a_training_ends_and_back_in_time(self, production: Production, at_work: AtWork):
        row = at_work("back")
        with database_away(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)

        row = production.until(TEAM, "back", succeeded)
        assert (row["success"], row["attempt"], row["exit_code"]) == (True, 1, 0)
        assert row["metrics"]["test_f1"] is not None

    def test_away_until_its_run_is_told_to_end(self, production: Production, at_work: AtWork):
        """What its pod has kept is told in its stead, and nothing is trained again."""
        row = at_work("told")
        with database_away(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)
            pod_processes.send(row["run_id"], signal.SIGTERM)
            production.cluster_namespace.cluster.until(lambda: has_ended(production, row), what="the run to have given up")

        assert "succeeded: every model was complete" in production.reconcile()
        row = production.row(TEAM, "told")
        assert (row["success"], row["state"], row["attempt"], row["exit_code"]) == (True, "succeeded", 1, 143)
        assert row["metrics"]["test_f1"] is not None
        assert production.verify()

    def test_away_until_its_pod_is_gone(self, production: Production, at_work: AtWork):
        """Nobody has its report any more. The next attempt finds the model."""
        row = at_work("gone")
        with database_away(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)
            evict_and_wait(production, row)

        assert "attempt 2 with lgbm_tfidf: submitted" in production.reconcile()
        row = production.until(TEAM, "gone", succeeded)
        assert (row["success"], row["attempt"]) == (True, 2)
        assert "Started training" not in production.cluster_namespace.kubectl("logs", f"job/{row['job']}")

    def test_away_until_its_job_is_gone(self, production: Production, at_work: AtWork):
        """What is left of it is in the volume, and whoever sees that comes first."""
        row = at_work("erased")
        with database_away(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)
            production.cluster_namespace.kubectl("delete", "job", row["job"])
            production.cluster_namespace.cluster.until(lambda: production.pods_of(row["run_id"]) == [], what="its pod to be gone")
        production.reconcile()
        production.age(row["run_id"], "missing_since", 61)

        production.reconcile()
        assert production.row(TEAM, "erased")["success"] is None
        told = production.reconcile(sees_models=True)

        assert f"{row['run_id']} {TEAM}/erased: succeeded: every model was complete" in told
        row = production.row(TEAM, "erased")
        assert (row["success"], row["state"], row["attempt"]) == (True, "succeeded", 1)
        assert row["metrics"]["test_f1"] is not None

    def test_what_only_the_pod_knows_is_not_lost_when_it_is_cancelled(self, production: Production, at_work: AtWork):
        row = at_work("cancelled")
        with cut_off(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)
            production.installation.must("training_runs", "cancel", row["run_id"])

        row = production.row(TEAM, "cancelled")
        assert (row["success"], row["state"], row["exit_code"]) == (True, "succeeded", 143)


def test_a_node_that_is_lost(production: Production, at_work: AtWork):
    """C4: unknown until its pod is provably gone, and no second one before; then it is tried again, and the old one gives way."""
    cluster, row = production.cluster_namespace.cluster, at_work("node")
    run_id = row["run_id"]
    production.held.let_go(run_id, on=False)

    cluster.kill("kubelet")
    cluster.until(lambda: f"node {NODE}, which has pod " in production.reconcile(), what="the node's silence to be noticed")
    silent = production.row(TEAM, "node")
    assert (silent["success"], silent["attempt"]) == (None, 1)
    assert silent["unknown_since"] is not None
    assert len(production.jobs_of(run_id)) == 1
    alive = pod_processes.of_run(run_id)
    assert alive

    cluster.must("delete", "node", NODE)
    cluster.until(lambda: production.pods_of(run_id) == [] and has_ended(production, row), what="its pod to be given up", seconds=120)
    assert "attempt 2 with lgbm_tfidf: submitted" in production.reconcile()
    (event,) = production.events(run_id)
    assert "node_lost: " in event["message"]
    # Its process lives on, where no cluster sees it, and ends as soon as it looks at its row.
    cluster.until(lambda: not pod_processes.of_run(run_id), what="the old attempt to give way")
    assert production.row(TEAM, "node")["success"] is None

    cluster.heal()
    row = production.until(TEAM, "node", succeeded)
    assert (row["success"], row["attempt"]) == (True, 2)


def test_a_namespace_that_is_deleted(production: Production, at_work: AtWork):
    """C13, and the last here: nothing of it is left."""
    row = at_work("namespace")
    production.held.let_go(row["run_id"], on=False)

    production.cluster_namespace.cluster.must("delete", "namespace", production.cluster_namespace.namespace, timeout=120)
    production.reconcile()
    production.age(row["run_id"], "missing_since", 121)
    production.reconcile()

    row = production.row(TEAM, "namespace")
    assert (row["success"], row["reason"], row["state"]) == (False, "deleted", "failed")
    assert "no longer exists and left no report: it was deleted" in row["error"]
