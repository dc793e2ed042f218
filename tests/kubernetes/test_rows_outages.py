"""Rows during an outage: of the node, the API server, the database or a reconciler, or after a lost response.

The old writer of C16 would live on a lost node. The one node here kills unknown pods as soon as it is back. So the test
removes the pod from its Job, removes its labels and stops its processes. A lost node does the same.
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
    "unread", "uncreated", "unnoted", "several", "ending", "partition", "followed", "unfollowed", "killed", "back", "sigterm", "gone",
    "erased", "cancelled",
)  # fmt: skip
# These tests come last: they destroy the node and the namespace.
LATER = ("node", "namespace")
HEALTHY, NAMES = "healthy", tuple(f"healthy-{number}" for number in range(6))
# These runs wait for a third GPU, so they use no processor time.
WAITING = {"gpu": {"count": 3, "required": False}}


@pytest.fixture(scope="module")
def at_work(production: Production) -> Callable[[str], Row]:
    """The row of a stopped training. Most trainings begin together, before the first test."""
    for team, subjects in {TEAM: SUBJECTS, HEALTHY: NAMES}.items():
        production.subjects(team, *subjects)
        with production.held.all():
            production.train(team)
            for subject in subjects:
                production.held.hold(production.row(team, subject)["run_id"])
    production.subjects(TEAM, *LATER)

    def stopped(subject: str) -> Row:
        if subject not in LATER:
            return production.at_work(TEAM, subject)
        with production.held.all():
            production.train(TEAM, "--subject", subject)
            return production.at_work(TEAM, subject)

    return stopped


AtWork = Callable[[str], Row]


def succeeded(row: Row) -> bool:
    return row["state"] == "succeeded"


def has_reported(production: Production, row: Row) -> None:
    """Wait for the outcome file with a success. The database did not get that success."""
    file = production.models / TEAM / row["subject"] / ".runs" / row["run_id"] / "outcome.json"
    production.cluster_namespace.cluster.until(
        lambda: file.exists() and '"success":true' in file.read_text(), what="the outcome file of the run"
    )


def has_ended(production: Production, row: Row) -> bool:
    (job,) = production.jobs_of(row["run_id"])
    return is_finished(job)


def evict_and_wait(production: Production, row: Row) -> None:
    """Evict the pod and wait until it is gone and the Job has ended."""
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
    """Pods do not reach the database. Other processes do."""
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
    return proxies.through(proxy, production.cluster_namespace, production.cluster_file())


def test_outage_of_the_api_server_changes_no_run(production: Production, at_work: AtWork):
    """C7."""
    for name in NAMES:
        production.at_work(HEALTHY, name)
    before = production.rows(HEALTHY)

    production.cluster_namespace.cluster.kill("kube-apiserver")
    output = production.reconcile()
    during = production.rows(HEALTHY)
    production.cluster_namespace.cluster.start("kube-apiserver")

    unknown = [line for line in output.splitlines() if f" {HEALTHY}/" in line]
    assert len(unknown) == len(NAMES)
    assert all("the Kubernetes API does not answer: " in line and "its status is unknown" in line for line in unknown), unknown
    assert all(row["unknown_since"] is not None for row in during)
    assert [row | {"unknown_since": None} for row in during] == before
    for row in before:
        production.held.let_go(row["run_id"])
    assert all(production.until(HEALTHY, name, succeeded)["attempt"] == 1 for name in NAMES)


def killing(proxy: Proxy, production: Production, *, at: Callable[[str, str], bool], before: bool) -> None:
    """Kill a reconciler at a request to the cluster.

    before: before the API server executes the request. Otherwise after that, without a response.
    """
    with production.installation.start("reconcile_runs", "--once", **through(proxy, production)) as reconciler:

        def kill(method: str, path: str) -> bool:
            if not at(method, path):
                return False
            reconciler.kill()
            reconciler.wait(60)
            return True

        if before:
            proxy.answer = lambda method, path: (500, {}) if kill(method, path) else None
        else:
            proxy.drop = kill
        reconciler.communicate(timeout=300)
    assert reconciler.returncode == -signal.SIGKILL
    proxy.answer, proxy.drop = lambda method, path: None, lambda method, path: False


def creates(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("/jobs")


class TestKilledReconciler:
    """C9: the next reconciler completes the work."""

    @pytest.mark.parametrize(
        ("name", "at", "before"),
        [
            ("unread", lambda method, path: method == "GET" and "/jobs" in path, False),
            ("uncreated", creates, True),
            ("unnoted", creates, False),
        ],
    )
    def test_killed_during_a_retry(
        self, production: Production, at_work: AtWork, proxy: Proxy, name: str, at: Callable[[str, str], bool], before: bool
    ):
        row = at_work(name)
        production.held.let_go(row["run_id"], on=False)
        evict_and_wait(production, row)

        killing(proxy, production, at=at, before=before)
        assert production.row(TEAM, name)["success"] is None
        production.reconcile()

        self._is_retried_once(production, name)

    def test_several_reconcilers_at_once(self, production: Production, at_work: AtWork):
        row = at_work("several")
        production.held.let_go(row["run_id"], on=False)
        evict_and_wait(production, row)

        with ThreadPoolExecutor(3) as pool:
            output = list(pool.map(lambda number: production.reconcile(), range(3)))

        assert sum("retried (" in words for words in output) == 1, output
        self._is_retried_once(production, "several")

    def test_killed_while_it_terminates_a_run(self, production: Production, at_work: AtWork, proxy: Proxy):
        row = at_work("ending")

        with production.idle(row["run_id"], 1801):
            killing(proxy, production, at=lambda method, path: method == "DELETE" and "/jobs/" in path, before=False)
        announced = production.row(TEAM, "ending")
        assert (announced["success"], announced["run_reason"]) == (None, "stalled")
        production.cluster_namespace.cluster.until(
            lambda: production.pods_of(row["run_id"]) == [] and production.jobs_of(row["run_id"]) == [], what="its pod and Job to be gone"
        )
        production.reconcile()
        production.age(row["run_id"], "missing_since", 121)
        production.reconcile()

        row = production.row(TEAM, "ending")
        assert (row["success"], row["reason"], row["state"]) == (False, "stalled", "failed")
        assert row["error"].startswith("stalled: no progress for ")
        assert production.jobs_of(row["run_id"]) == []

    @staticmethod
    def _is_retried_once(production: Production, name: str) -> None:
        row = production.until(TEAM, name, succeeded)
        assert (row["attempt"], row["retries"], row["success"]) == (2, 1, True)
        jobs = {job["metadata"]["name"]: job["metadata"]["uid"] for job in production.jobs_of(row["run_id"])}
        assert jobs.keys() == {f"gregory-train-{row['run_id']}-a{attempt}" for attempt in (1, 2)}
        assert (row["job"], row["uid"]) == (f"gregory-train-{row['run_id']}-a2", jobs[row["job"]])
        assert [event["kind"] for event in production.events(row["run_id"])] == ["retried"]


class TestSubmission:
    """C10."""

    def test_lost_response_creates_no_second_job(self, production: Production, proxy: Proxy):
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

    def test_foreign_job_of_the_same_name_is_not_changed(self, production: Production, proxy: Proxy):
        production.subjects("foreign", "one")
        foreign: list[Row] = []

        def create_foreign_job(method: str, path: str) -> None:
            if creates(method, path) and not foreign and (rows := production.rows("foreign")):
                metadata = {"name": f"gregory-train-{rows[0]['run_id']}-a1", "namespace": production.cluster_namespace.namespace}
                container = {"name": "any", "image": "gregory.test/none:1"}
                template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
                job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"suspend": True, "template": template}}
                production.cluster_namespace.cluster.apply(job)
                foreign.append(production.cluster_namespace.get("job", metadata["name"]))

        proxy.answer = create_foreign_job
        done = production.installation.manage("train_models", "--team", "foreign", "--algo", "lgbm_tfidf", **through(proxy, production))

        row = production.row("foreign", "one")
        name = f"gregory-train-{row['run_id']}-a1"
        assert done.returncode == 1
        assert (row["success"], row["reason"], row["state"]) == (False, "not_started", "failed")
        assert row["error"] == (
            f"a Job named {name} exists in namespace {production.cluster_namespace.namespace} and is not this run's; "
            f"remove it with: kubectl delete job {name} --namespace {production.cluster_namespace.namespace}"
        )
        assert production.cluster_namespace.get("job", name) == foreign[0]


def test_old_writer_cannot_change_rows(production: Production, at_work: AtWork):
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

    # The worker first, so that its supervisor finds a result.
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


def test_finished_row_stays_when_the_run_is_killed(production: Production):
    """C1: one of two algorithms had ended."""
    production.subjects("two", "any")
    with production.held.all(stage="train-lstm"):
        production.train("two", algorithms="lgbm_tfidf,lstm")
        run_id = production.at_work("two", "any", stage="train-lstm")["run_id"]
    (before, _) = [row for row in production.rows("two") if row["run_id"] == run_id]
    assert before["success"] is True

    production.held.let_go(run_id, on=False)
    pod_processes.send(run_id, signal.SIGKILL)
    production.cluster_namespace.cluster.until(lambda: is_finished(production.jobs_of(run_id)[0]), what="the Job to have failed")
    assert "closed (killed): pod " in production.reconcile()

    lgbm, lstm = [row for row in production.rows("two") if row["run_id"] == run_id]
    assert (lgbm["success"], lgbm["error"], lgbm["metrics"], lgbm["artifact"]) == (True, None, before["metrics"], before["artifact"])
    assert (lstm["success"], lstm["reason"], lstm["exit_code"], lstm["state"]) == (False, "killed", 137, "failed")
    assert "was ended by signal 9 (SIGKILL), exit code 137" in lstm["error"]
    assert f"Finished version {lgbm['version']}" in lstm["log_tail"]


class TestLogs:
    """C19: the command prints the log of the pod. Its exit code follows the row."""

    def test_log_of_a_succeeding_run(self, production: Production, at_work: AtWork):
        row = at_work("followed")
        with production.installation.start("training_runs", "logs", "--follow", row["run_id"]) as following:
            production.held.let_go(row["run_id"])
            output, _ = following.communicate(timeout=300)

        assert following.returncode == 0, output
        *lines, last = output.splitlines()
        assert lines == production.log(row).splitlines()
        assert last == f"run {row['run_id']} succeeded"

    def test_log_continues_with_the_next_attempt(self, production: Production, at_work: AtWork):
        row = at_work("unfollowed")
        with production.installation.start("training_runs", "logs", "--follow", row["run_id"]) as following:
            assert following.stdout is not None
            first = following.stdout.readline()
            evict(production, row)
            production.held.let_go(row["run_id"], on=False)
            output = first + following.stdout.read()
            following.wait(300)

        assert following.returncode == 0, output
        assert f"run {row['run_id']} attempt 2: succeeded" in output
        assert output.count(f"Started run {row['run_id']}") == 2

    def test_log_of_a_killed_run(self, production: Production, at_work: AtWork):
        row = at_work("killed")
        with production.installation.start("training_runs", "logs", "--follow", row["run_id"]) as following:
            production.held.let_go(row["run_id"], on=False)
            pod_processes.send(row["run_id"], signal.SIGKILL)
            output, _ = following.communicate(timeout=300)

        assert following.returncode == 1, output
        assert f"run {row['run_id']} failed (killed): pod " in output


@pytest.fixture(scope="module")
def checked(production: Production) -> Production:
    """A team whose runs fail their preconditions."""
    production.subjects("checked", "any")
    return production


class TestBeforeAnyRow:
    """C23."""

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            (actions.pod_patch(dnsPolicy="Nonsense"), "the cluster would refuse every Job: "),
            ({"serviceAccountName": "none"}, "there is no ServiceAccount none "),
        ],
        ids=["refused", "missing account"],
    )
    def test_failed_precondition_writes_no_row(self, checked: Production, changes: dict[str, Any], error: str):
        done = checked.train("checked", code=1, **changes)

        assert error in done.stderr
        assert checked.rows("checked") == []

    def test_dry_run_prints_the_later_request(self, production: Production):
        """The subject has the longest possible name, with letters that no label accepts."""
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
    """The Job without ids, because a dry run has other ids."""
    spec = next(
        variable["value"] for variable in job["spec"]["template"]["spec"]["containers"][0]["env"] if variable["name"] == "GREGORY_RUN_SPEC"
    )
    run = json.loads(spec.replace("$$", "$"))
    text = json.dumps(job)
    for value in (run["run_id"], run["attempt_token"]):
        text = text.replace(value, "ID")
    found = json.loads(text)
    pod = found["spec"]["template"]["spec"]
    for variable in (variable for container in (*pod["initContainers"], *pod["containers"]) for variable in container["env"]):
        if variable["name"] == "GREGORY_RUN_SPEC":
            said = json.loads(variable["value"].replace("$$", "$"))
            variable["value"] = {key: said[key] for key in said if key not in ("algorithms", "window")}
    return found


def _missing(asked: Any, given: Any, where: str = "") -> Iterator[str]:
    """Differences between the request and the Job. Defaults that the server adds do not count."""
    if isinstance(asked, dict) and isinstance(given, dict):
        for key in asked:
            yield from _missing(asked[key], given.get(key), f"{where}.{key}")
    elif isinstance(asked, list) and isinstance(given, list) and len(asked) == len(given):
        for number, (one, other) in enumerate(zip(asked, given, strict=True)):
            yield from _missing(one, other, f"{where}[{number}]")
    elif asked != given:
        yield f"{where}: {asked!r} is {given!r}"


class TestTheDatabase:
    """C8. Last, because for a minute after a restart of the server no run counts as silent."""

    def test_database_returns_in_time(self, production: Production, at_work: AtWork):
        row = at_work("back")
        with database_away(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)

        row = production.until(TEAM, "back", succeeded)
        assert (row["success"], row["attempt"], row["exit_code"]) == (True, 1, 0)
        assert row["metrics"]["test_f1"] is not None

    def test_database_is_away_until_the_run_gets_sigterm(self, production: Production, at_work: AtWork):
        """The reconciler uses the outcome report of the pod. Nothing is trained again."""
        row = at_work("sigterm")
        with database_away(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)
            pod_processes.send(row["run_id"], signal.SIGTERM)
            production.cluster_namespace.cluster.until(lambda: has_ended(production, row), what="the run to have given up")

        assert "succeeded: every model was complete" in production.reconcile()
        row = production.row(TEAM, "sigterm")
        assert (row["success"], row["state"], row["attempt"], row["exit_code"]) == (True, "succeeded", 1, 143)
        assert row["metrics"]["test_f1"] is not None
        assert production.verify()

    def test_database_is_away_until_the_pod_is_gone(self, production: Production, at_work: AtWork):
        """The outcome report of the pod is lost. The next attempt finds the model."""
        row = at_work("gone")
        with database_away(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)
            evict_and_wait(production, row)

        assert "attempt 2 with lgbm_tfidf: submitted" in production.reconcile()
        row = production.until(TEAM, "gone", succeeded)
        assert (row["success"], row["attempt"]) == (True, 2)
        assert "Started training" not in production.log(row)

    def test_database_is_away_until_the_job_is_gone(self, production: Production, at_work: AtWork):
        """Only the volume has the result. A reconciler with the volume closes the run."""
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
        output = production.reconcile(sees_models=True)

        assert f"{row['run_id']} {TEAM}/erased: succeeded: every model was complete" in output
        row = production.row(TEAM, "erased")
        assert (row["success"], row["state"], row["attempt"]) == (True, "succeeded", 1)
        assert row["metrics"]["test_f1"] is not None

    def test_cancelling_keeps_a_result_that_only_the_pod_has(self, production: Production, at_work: AtWork):
        row = at_work("cancelled")
        with cut_off(production):
            production.held.let_go(row["run_id"])
            has_reported(production, row)
            production.installation.must("training_runs", "cancel", row["run_id"])

        row = production.row(TEAM, "cancelled")
        assert (row["success"], row["state"], row["exit_code"]) == (True, "succeeded", 143)


def test_lost_node(production: Production, at_work: AtWork):
    """C4: the run is unknown until its pod is gone. Then the reconciler retries it, and the old attempt stops."""
    cluster, row = production.cluster_namespace.cluster, at_work("node")
    run_id = row["run_id"]
    production.held.let_go(run_id, on=False)

    cluster.kill("kubelet")

    def is_reported() -> bool:
        return any(line.startswith(run_id) and f"node {NODE}, which has pod " in line for line in production.reconcile().splitlines())

    cluster.until(is_reported, what="the reconciler to report the silent node")
    silent = production.row(TEAM, "node")
    assert (silent["success"], silent["attempt"]) == (None, 1)
    assert silent["unknown_since"] is not None
    assert len(production.jobs_of(run_id)) == 1
    alive = pod_processes.of_run(run_id)
    assert alive

    cluster.must("delete", "node", NODE)
    cluster.until(lambda: production.pods_of(run_id) == [] and has_ended(production, row), what="the cluster to remove the pod")
    assert "attempt 2 with lgbm_tfidf: submitted" in production.reconcile()
    (event,) = production.events(run_id)
    assert "node_lost: " in event["message"]
    # The old process lives without a cluster. It ends as soon as it reads its row.
    cluster.until(lambda: not pod_processes.of_run(run_id), what="the old attempt to stop")
    assert production.row(TEAM, "node")["success"] is None

    cluster.heal()
    row = production.until(TEAM, "node", succeeded)
    assert (row["success"], row["attempt"]) == (True, 2)


def test_deleted_namespace(production: Production, at_work: AtWork):
    """C13. The last test, because it deletes the namespace."""
    row = at_work("namespace")
    production.held.let_go(row["run_id"], on=False)

    production.cluster_namespace.cluster.must("delete", "namespace", production.cluster_namespace.namespace)
    production.reconcile()
    production.age(row["run_id"], "missing_since", 121)
    production.reconcile()

    row = production.row(TEAM, "namespace")
    assert (row["success"], row["reason"], row["state"]) == (False, "deleted", "failed")
    assert "no longer exists and left no report: it was deleted" in row["error"]
