"""Rows while a request has no answer, or while a reconciler was stopped after it had observed the runs."""

import signal
import threading
from collections.abc import Iterator

import pytest

from tests.kubernetes import pod_processes
from tests.kubernetes import proxy as proxies
from tests.kubernetes.production import Production
from tests.kubernetes.proxy import Proxy
from tests.kubernetes.test_rows_outages import creates, evict_and_wait, succeeded, through

pytestmark = pytest.mark.slow

TEAM = "stale"


@pytest.fixture
def proxy(production: Production) -> Iterator[Proxy]:
    with proxies.running(production.cluster_namespace.cluster.kubeconfig.parent) as proxy:
        yield proxy


def test_submission_without_an_answer_delays_no_end(production: Production, proxy: Proxy):
    """As with an admission webhook that does not answer. The evicted run is the older one."""
    production.subjects(TEAM, "evicted", "killed")
    with production.held.all():
        production.train(TEAM)
        evicted, killed = (production.at_work(TEAM, subject) for subject in ("evicted", "killed"))
    production.held.let_go(evicted["run_id"], on=False)
    evict_and_wait(production, evicted)
    answer, asked = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> None:
        if creates(method, path):
            asked.set()
            answer.wait(900)

    proxy.answer = hold
    try:
        with production.installation.start("reconcile_runs", "--interval", "1", **through(proxy, production)):
            assert asked.wait(300)
            pod_processes.send(killed["run_id"], signal.SIGKILL)
            row = production.until(TEAM, "killed", lambda row: row["finished"])
            assert (row["success"], row["reason"]) == (False, "killed")
            waiting = production.row(TEAM, "evicted")
            assert (waiting["attempt"], waiting["state"], waiting["success"]) == (2, "pending", None)

            answer.set()
            assert production.until(TEAM, "evicted", succeeded)["attempt"] == 2
    finally:
        answer.set()


def test_reconciler_that_was_stopped_after_its_list_ends_no_run_that_progresses(production: Production, proxy: Proxy):
    production.subjects(TEAM, "progresses")
    with production.held.all():
        production.train(TEAM, "--subject", "progresses")
        row = production.at_work(TEAM, "progresses")
    listed = threading.Event()
    with production.installation.start("reconcile_runs", "--once", **through(proxy, production)) as reconciler:

        def stop(method: str, path: str) -> None:
            if method == "GET" and "/jobs" in path and not listed.is_set():
                reconciler.send_signal(signal.SIGSTOP)
                listed.set()

        proxy.answer = stop
        # The reconciler reads the row before its list. Then the next heartbeat of the run corrects the idle time.
        with production.idle(row["run_id"], 1801):
            assert listed.wait(300)
        heartbeat = "SELECT progress_at > heartbeat_at - interval '1800 seconds' AS works FROM gregory_runs_trainingrun WHERE run_id = %s"
        production.cluster_namespace.cluster.until(lambda: production.sql(heartbeat, row["run_id"])[0]["works"], what="a heartbeat")
        reconciler.send_signal(signal.SIGCONT)
        output, _ = reconciler.communicate(timeout=300)

    assert f"{row['run_id']} {TEAM}/progresses: left alone: its state changed meanwhile" in output
    now = production.row(TEAM, "progresses")
    assert (now["state"], now["run_reason"], now["success"]) == ("running", "", None)
    production.held.let_go(row["run_id"])
    assert production.until(TEAM, "progresses", succeeded)["attempt"] == 1
