"""One release on a real cluster that enforces its network policies: install, test, start a schedule, upgrade during a run,
roll back, uninstall.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, expect

from gregory.runs.spec import new_run_id
from gregory.runs.states import RunState
from tests.chart import reachability
from tests.chart.pages_network import reachable
from tests.chart.release import TRAINED, Release, releasing, schedules
from tests.conftest import BROWSER_MILLISECONDS
from tests.strict import need
from tools import postgresql
from tools.chart import helm
from tools.chart.helm import CHART, RELEASE
from tools.cluster import policies
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace
from tools.cluster.network import HOST

# This process stands in for kube-proxy, so it connects to pods.
pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1", str(HOST.network)])]

OURS = "app.kubernetes.io/name=gregory-train"


@pytest.fixture(scope="module")
def release(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """One release for all tests of this module. Each test continues after the one before it."""
    cluster_namespace = ClusterNamespace(cluster=cluster, namespace=f"chart-{new_run_id()}", folder=tmp_path_factory.mktemp("release"))
    need(policies.usable(), what="a program that enforces network policies", remedy=policies.REMEDY)
    policies.start(cluster)
    try:
        with releasing(cluster_namespace, cluster_postgresql) as release:
            release.production.subjects("plain", "a", "b")
            release.production.subjects("held", "c")
            yield release
    finally:
        policies.stop(cluster)


def test_install_prints_the_next_commands(release: Release):
    assert "would violate PodSecurity" not in release.output
    # Images of the tests come from an archive, which has no digests.
    warnings = re.findall(r"^WARNING: (.+)$", release.output, re.MULTILINE)
    assert [words.partition(",")[0] for words in warnings] == ["controller.image has no digest", "job.image has no digest"]
    assert f"kubectl create job train-now --from=cronjob/{RELEASE}-weekly --namespace {release.namespace}" in release.output
    release.only_the_deployments_are_left()


def test_helm_test_passes_and_leaves_no_object(release: Release):
    with pages_reached(release):
        said = release.test()

    found = re.findall(r"^(OK|WARNING|ERROR) +(\S+) +(.+)$", said, re.MULTILINE)
    assert {area for _, area, _ in found} >= {"models", "base-models", "cluster"}
    assert [line for result, *line in found if result != "OK"] == []
    words = [words for _, _, words in found]
    assert "this account may create, read and delete Jobs" in words
    assert "the server accepts the Job of a run" in words
    assert "nodes that offer 1 nvidia.com/gpu: 1" in words
    assert "The operator pages answer with status 200" in said
    release.only_the_deployments_are_left()
    assert release.cluster.get("clusterroles,clusterrolebindings", "--selector", OURS)["items"] == []


def test_manually_started_schedule_trains(release: Release):
    release.trigger("train-now", schedule="weekly")

    assert release.ended("train-now")["status"].get("succeeded") == 1, release.kubectl("logs", "job/train-now")
    for subject in ("a", "b"):
        row = release.production.until("plain", subject, lambda row: RunState(row["state"]).is_final)
        assert (row["success"], row["state"]) == (True, "succeeded"), row["error"]
        assert (release.production.models / row["artifact"].rpartition("models/")[2] / "manifest.json").exists()
        (job,) = release.production.jobs_of(row["run_id"])
        assert job["metadata"]["labels"]["app.kubernetes.io/instance"] == RELEASE
        assert "nvidia.com/gpu" in job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    reconciler = ("exec", f"deployment/{RELEASE}-reconciler", "--namespace", release.namespace)
    said = release.cluster.must(*reconciler, "--", "python", "manage.py", "verify_models")
    assert said == "2 version folders, all complete and unchanged\n"


def test_a_browser_trains_through_the_service(release: Release, chromium: Browser):
    """Log in through the proxy with TLS, start a run, and watch its Job to its end on one page."""
    account: dict[str, Any] = {
        "DJANGO_SUPERUSER_PASSWORD": "of-the-operator",
        **release.production.server.environment(release.production.database),
    }
    made = release.production.installation.manage(
        "createsuperuser", "--noinput", "--username", "operator", "--email", "operator@example.org", **account
    )
    assert made.returncode == 0, made.stderr
    with pages_reached(release), chromium.new_context(ignore_https_errors=True) as context:
        page = context.new_page()
        page.set_default_timeout(BROWSER_MILLISECONDS)
        page.goto(f"https://localhost:{release.port}/gregory/subject/")
        page.get_by_label("Username").fill("operator")
        page.get_by_label("Password").fill(account["DJANGO_SUPERUSER_PASSWORD"])
        page.keyboard.press("Enter")
        page.get_by_role("link", name="plain/a", exact=True).click()
        page.get_by_role("link", name="Train now").click()
        for algorithm in ("pubmed_bert", "lstm"):
            page.get_by_label(algorithm).uncheck()
        page.get_by_role("button", name="Yes, train").click()
        page.evaluate("window.kept = true")
        expect(page.locator(".lead .state")).to_contain_text("succeeded")
        assert page.evaluate("window.kept") is True
        assert f"--namespace {release.namespace}" in page.locator("pre").last.inner_text()
        page.get_by_text("Model card: curves").click()
        expect(page.frame_locator("iframe").locator("figure svg").first).to_be_visible()
    row = release.production.row("plain", "a")
    assert (row["success"], row["state"]) == (True, "succeeded")
    assert len(release.production.jobs_of(row["run_id"])) == 1


def test_no_object_contains_the_password(release: Release):
    kinds = "cronjobs,jobs,pods,deployments,replicasets,configmaps,serviceaccounts,roles,events"
    everything = json.dumps(release.cluster.get(kinds, "--namespace", release.namespace))

    assert "GREGORY_RUN_SPEC" in everything
    assert postgresql.PASSWORD not in everything


def test_run_continues_through_upgrade_schedule_and_rollback(release: Release):
    production = release.production
    with production.held.all():
        submitted = production.installation.manage("train_models", "--team", "held", *TRAINED)
        assert submitted.returncode == 0, submitted.stdout + submitted.stderr
        row = production.at_work("held", "c")
    (job,) = production.jobs_of(row["run_id"])

    # The suspended schedule has missed a start, which Kubernetes now repeats.
    release.upgrade({"job": {"maxAttempts": 2}, "cronJobs": schedules(ticking=True)})
    tick = release.ended(f"{RELEASE}-ticking-")

    assert tick["status"].get("failed") == 1
    (pod,) = [pod for pod in production.cluster_namespace.pods() if pod["metadata"]["name"].startswith(tick["metadata"]["name"])]
    (status,) = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 1
    assert f"held/c has an unfinished run {row['run_id']}" in release.kubectl("logs", f"job/{tick['metadata']['name']}")

    release.kubectl("patch", "cronjob", f"{RELEASE}-ticking", "--patch", json.dumps({"spec": {"suspend": True}}))
    upgraded = release.helm("upgrade", RELEASE, str(CHART), "--values", str(release.file({"cronJobs": schedules(ticking=True)})))
    if helm.is_3():
        # Helm 3 takes back silently what kubectl has changed.
        assert upgraded.returncode == 0, release.why(upgraded)
        assert is_suspended(release) is False
        release.must("rollback", RELEASE, "1", "--wait")
    else:
        # Helm 4 leaves it alone, unless an option demands the value of the chart.
        assert upgraded.returncode != 0
        assert 'conflict with "kubectl-patch"' in upgraded.stderr
        assert is_suspended(release) is True
        release.must("rollback", RELEASE, "1", "--wait", "--force-conflicts")

    assert (
        yaml.safe_load(release.kubectl("get", "configmap", f"{RELEASE}-cluster", "--output", r"jsonpath={.data.cluster\.yaml}"))[
            "maxAttempts"
        ]
        == 3
    )
    assert is_suspended(release) is True
    (still,) = production.jobs_of(row["run_id"])
    assert (still["metadata"]["uid"], still["status"].get("active")) == (job["metadata"]["uid"], 1)

    # Jobs of the schedule that started meanwhile must end first, else they would start the next run.
    release.cluster.until(lambda: not any(job["status"].get("active") for job in ticks(release)), what="submitters to end")
    production.held.let_go(row["run_id"])
    ended = production.until("held", "c", lambda row: RunState(row["state"]).is_final)
    assert (ended["success"], ended["attempt"], len(production.rows("held"))) == (True, 1, 1)


def test_each_pod_reaches_what_the_document_says(release: Release):
    """The run that is asked ends well under the narrowest policies, and `helm test` passes."""
    production, documented = release.production, reachability.documented()
    with production.held.all():
        assert production.installation.manage("train_models", "--team", "held", *TRAINED).returncode == 0
        row = production.at_work("held", "c")
    with reachability.measuring(release, row) as measurement, pages_reached(release):
        for name, values in reachability.settings(production.server.port).items():
            release.upgrade({"networkPolicy": values})
            expected, seen = documented[name], {}
            end = time.monotonic() + 60
            # The controller reads the policies after the upgrade.
            while seen != expected and time.monotonic() < end:
                seen = measurement.of(list(expected))
            assert seen == expected, name
        assert "The operator pages answer with status 200" in release.test()

    production.held.let_go(row["run_id"])
    ended = production.until("held", "c", lambda row: RunState(row["state"]).is_final)
    assert (ended["run_id"], ended["success"], ended["attempt"]) == (row["run_id"], True, 1), ended["error"]


def test_uninstall_cancels_runs_and_keeps_the_models(release: Release):
    production = release.production
    with production.held.all():
        assert production.installation.manage("train_models", "--team", "held", *TRAINED).returncode == 0
        row = production.at_work("held", "c")

    release.must("uninstall", RELEASE, "--wait")

    ended = production.row("held", "c")
    assert (ended["run_id"], ended["success"], ended["reason"], ended["state"]) == (row["run_id"], False, "cancelled", "cancelled")
    release.cluster.until(lambda: production.cluster_namespace.pods() == [], what="every pod to be gone")
    assert production.cluster_namespace.jobs() == []
    assert production.cluster_namespace.get("persistentvolumeclaim", f"{RELEASE}-models")["status"]["phase"] == "Bound"
    left = release.cluster.get("cronjobs,deployments,configmaps,serviceaccounts,roles,rolebindings,networkpolicies", "--selector", OURS,
                               "--namespace", release.namespace)  # fmt: skip
    assert left["items"] == []


def pages_reached(release: Release) -> AbstractContextManager[None]:
    """The pages are reachable in the block."""
    folder = release.production.cluster_namespace.folder / f"pages-{new_run_id()}"
    return reachable(release.cluster, namespace=release.namespace, service=f"{RELEASE}-pages", port=release.port, folder=folder)


def is_suspended(release: Release) -> bool:
    suspended: bool = release.production.cluster_namespace.get("cronjob", f"{RELEASE}-ticking")["spec"]["suspend"]
    return suspended


def ticks(release: Release) -> list[dict[str, Any]]:
    return [job for job in release.production.cluster_namespace.jobs() if "-ticking-" in job["metadata"]["name"]]
