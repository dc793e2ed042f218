"""Submission: one Job for each attempt, the calls to the API server, and the checks before any row.

test_rows_outages.py covers a lost response and a foreign Job of the same name.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from gregory.launch.errors import PreconditionFailed, Refused, SubmitError
from gregory.launch.kubernetes import submission
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.runner import KubernetesRunner
from gregory.launch.runner import Rendered, Status
from gregory.runs.spec import HandleKind, RunHandle, new_token
from tests.kubernetes import proxy as proxies
from tests.kubernetes.proxy import Proxy
from tools.cluster.namespace import SLEEPS, ClusterNamespace, a_run, with_code

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy(job_namespace: ClusterNamespace) -> Iterator[Proxy]:
    with proxies.running(job_namespace.cluster.kubeconfig.parent) as proxy:
        yield proxy


def through(proxy: Proxy, job_namespace: ClusterNamespace, **variables: str) -> KubernetesRunner:
    """A runner that reaches the cluster through the proxy."""
    file = job_namespace.folder / "proxy.kubeconfig"
    named = {"name": "proxy", "cluster": {"server": proxy.url}}
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    file.write_text(
        json.dumps({"clusters": [named], "contexts": [context], "users": [{"name": "nobody", "user": {}}], "current-context": "proxy"})
    )
    return job_namespace.runner(KUBECONFIG=str(file), **variables)


def suspended(runner: KubernetesRunner, **changes: Any) -> Rendered:
    """A suspended run, which needs no node."""
    spec = a_run(**changes)
    job = with_code(runner.render(spec).request, SLEEPS)
    job["spec"]["suspend"] = True
    return Rendered(spec=spec, request=job)


class TestSubmit:
    def test_second_submission_adopts_the_first_job(self, job_namespace: ClusterNamespace):
        runner = job_namespace.runner()
        rendered = suspended(runner)
        handle = runner.submit(rendered)

        assert job_namespace.runner().submit(rendered) == handle
        assert len(job_namespace.jobs()) == 1

    def test_job_with_another_token_is_refused(self, job_namespace: ClusterNamespace):
        runner = job_namespace.runner()
        rendered = suspended(runner)
        runner.submit(rendered)

        with pytest.raises(SubmitError, match=r"exists in namespace .* and is not this run's"):
            runner.submit(suspended(runner, run_id=rendered.spec.run_id, attempt_token=new_token()))

    def test_refused_request_is_not_repeated(self, job_namespace: ClusterNamespace):
        runner = job_namespace.runner()
        rendered = suspended(runner)
        rendered.request["spec"]["backoffLimit"] = -1

        with pytest.raises(SubmitError, match=r"^cannot start any/any on the cluster: Job.batch .* is invalid: spec.backoffLimit"):
            runner.submit(rendered)

        assert runner.api.calls["POST jobs"] == 1

    @pytest.mark.parametrize(("user", "status"), [({"token": "wrong"}, 401), ({}, 403)])
    def test_an_account_that_the_server_does_not_know_may_submit_later(self, job_namespace: ClusterNamespace, user, status):
        rendered = suspended(job_namespace.runner())
        file = job_namespace.folder / "unknown.kubeconfig"
        known = yaml.safe_load(job_namespace.cluster.kubeconfig.read_text())
        file.write_text(json.dumps({**known, "users": [{**named, "user": user} for named in known["users"]]}))
        unknown = job_namespace.runner(KUBECONFIG=str(file))
        vars(unknown)["_cluster_ids"] = ("known",)

        with pytest.raises(Refused) as refused:
            unknown.submit(rendered)

        assert (refused.value.status, refused.value.lacks_permission) == (status, True), refused.value
        handle = RunHandle(host=HandleKind.JOB.host(f"known/{job_namespace.namespace}"), name="job", uid="uid")
        assert unknown.observe([handle])[0].status is Status.UNKNOWN

    def test_a_quota_is_no_lack_of_permission(self, job_namespace: ClusterNamespace):
        metadata = {"name": "none", "namespace": job_namespace.namespace}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"count/jobs.batch": "0"}}}
        job_namespace.cluster.apply(quota)
        try:
            job_namespace.cluster.until(lambda: job_namespace.get("resourcequota", "none").get("status", {}).get("hard"), what="the quota")
            runner = job_namespace.runner()
            with pytest.raises(SubmitError, match=r"is forbidden: exceeded quota: none"):
                runner.submit(suspended(runner))
        finally:
            job_namespace.kubectl("delete", "resourcequota", "none")

    def test_submission_respects_the_rate_limit(self, job_namespace: ClusterNamespace):
        job_namespace.config["submission"] = {"perSecond": 0.01}
        runner, slept = job_namespace.runner(), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(submission.time, "sleep", slept.append)
            for _ in range(3):
                runner.submit(suspended(runner))

        # The patched sleep returns at once. So each pause is a hundred seconds longer, less the duration of the submissions.
        assert slept[0] == 0 < slept[1] <= 100 < slept[2] <= 200


class TestCalls:
    def test_observation_of_many_runs_needs_two_lists(self, job_namespace: ClusterNamespace):
        runner = job_namespace.runner()
        handles = [runner.submit(suspended(runner)) for _ in range(30)]
        runner.api.calls.clear()

        seen = runner.observe(handles)

        assert {one.status for one in seen} == {Status.PENDING}
        assert runner.api.calls == {"GET pods": 1, "GET jobs": 1}

    def test_lists_are_read_page_by_page(self, job_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("gregory.launch.kubernetes.namespace.PAGE", 4)
        runner = job_namespace.runner()
        handles = [runner.submit(suspended(runner)) for _ in range(10)]
        runner.api.calls.clear()

        assert [one.status for one in runner.observe(handles)] == [Status.PENDING] * 10
        assert runner.api.calls == {"GET pods": 1, "GET jobs": 3}

    def test_retry_after_is_respected(self, job_namespace: ClusterNamespace, proxy: Proxy):
        refusals = iter([(429, {"Retry-After": "1"}), (503, {}), (429, {})])
        runner = through(proxy, job_namespace)
        rendered = suspended(runner)
        proxy.answer = lambda method, path: next(refusals, None) if method == "POST" else None

        handle = runner.submit(rendered)

        assert [job["metadata"]["uid"] for job in job_namespace.jobs()] == [handle.uid]
        assert proxy.seen["POST"] == 4


class TestIdentity:
    def test_account_without_cluster_rights_uses_the_id_of_the_namespace(self, job_namespace: ClusterNamespace):
        """An account that can read kube-system knows both ids. The other account still sees all Jobs of the namespace."""
        narrow = account(job_namespace)
        wide = job_namespace.runner()

        submitted, by_admin = narrow.submit(suspended(narrow)), wide.submit(suspended(wide))

        assert submitted.host != by_admin.host
        for runner in (narrow, wide):
            assert [one.status for one in runner.observe([submitted, by_admin])] == [Status.PENDING] * 2
        narrow.cancel(by_admin, grace_seconds=1)
        assert [job["metadata"]["uid"] for job in job_namespace.jobs()] == [submitted.uid]
        gone = [handle.model_copy(update={"uid": "gone"}) for handle in (submitted, by_admin)]
        assert [one.missing for one in wide.observe(gone)] == [True, True]
        assert [one.status for one in narrow.observe(gone)] == [Status.TERMINATED, Status.UNKNOWN]

    def test_expired_token_is_read_again(self, job_namespace: ClusterNamespace):
        runner = account(job_namespace)
        handle = runner.submit(suspended(runner))
        file = job_namespace.kubeconfig_of("submitter")
        content = json.loads(file.read_text())
        good = content["users"][0]["user"]["token"]
        content["users"][0]["user"]["token"] = "expired"
        file.write_text(json.dumps(content))
        expired = job_namespace.runner(KUBECONFIG=str(file))
        (unknown,) = expired.observe([handle])
        assert (unknown.status, unknown.text) == (Status.UNKNOWN, "Unauthorized")

        content["users"][0]["user"]["token"] = good
        file.write_text(json.dumps(content))

        assert expired.observe([handle])[0].status is Status.PENDING

    def test_unknown_context_is_named(self, job_namespace: ClusterNamespace):
        runner = job_namespace.runner(GREGORY_KUBECONTEXT="none")

        (seen,) = runner.observe([RunHandle(host="kubernetes@x/y", name="n", uid="u")])

        assert seen.status is Status.UNKNOWN
        assert seen.text.startswith("no usable kubeconfig: ")
        assert seen.text.endswith("; name a kubeconfig in KUBECONFIG, and its context in GREGORY_KUBECONTEXT")


def account(job_namespace: ClusterNamespace) -> KubernetesRunner:
    """A runner with the rights of a submitter in its namespace, and no others."""
    here = {"namespace": job_namespace.namespace}
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "delete", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [job_namespace.namespace], "verbs": ["get"]},
    ]
    group = "rbac.authorization.k8s.io"
    job_namespace.cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "submitter", **here}},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "submitter", **here}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "submitter", **here},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "submitter"},
            "subjects": [{"kind": "ServiceAccount", "name": "submitter", **here}],
        },
    )
    return job_namespace.runner(KUBECONFIG=str(job_namespace.kubeconfig_of("submitter")))


class TestCheck:
    def test_complete_namespace_passes(self, job_namespace: ClusterNamespace):
        job_namespace.runner().check([])

    def test_check_needs_only_the_rights_of_a_submitter(self, job_namespace: ClusterNamespace):
        account(job_namespace).check([])

        assert job_namespace.jobs() == []

    @pytest.mark.parametrize(
        ("section", "value", "told"),
        [
            ("namespace", "none", r"^there is no namespace none on the cluster; create it, or correct namespace in the cluster file$"),
            (
                "volumes",
                {"models": {"claimName": "none"}},
                r"^there is no PersistentVolumeClaim none in namespace runs-\w+; create it, or correct volumes\.models\.claimName in the",
            ),
            ("serviceAccountName", "none", r"^there is no ServiceAccount none in .*, or correct serviceAccountName in the cluster file$"),
            (
                "database",
                {"existingSecret": "none", "host": "h", "name": "n", "user": "u"},
                r"^there is no Secret none in .* database\.existingSecret in the cluster file$",
            ),
            ("envFrom", [{"configMapRef": {"name": "none"}}], r"^there is no ConfigMap none in .* correct envFrom in the cluster file$"),
            (
                "podTemplatePatch",
                {"spec": {"dnsPolicy": "Nonsense"}},
                r'^the cluster would refuse every Job: Job\.batch .*dnsPolicy: Unsupported value: "Nonsense".*; correct the cluster file',
            ),
        ],
    )
    def test_error_names_the_missing_object_and_its_key(self, job_namespace: ClusterNamespace, section: str, value: Any, told: str):
        job_namespace.config[section] = value

        with pytest.raises(PreconditionFailed, match=told):
            job_namespace.runner().check([])

    def test_optional_object_can_be_missing(self, job_namespace: ClusterNamespace):
        job_namespace.config["env"] = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": True}}}]

        job_namespace.runner().check([])

    def test_dry_run_creates_no_job(self, job_namespace: ClusterNamespace):
        runner = job_namespace.runner()

        runner.check([])

        assert runner.api.calls["POST jobs"] == 1
        assert job_namespace.jobs() == []

    def test_failing_webhook_is_named(self, job_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        """C12: the admission webhook for Jobs does not answer."""
        monkeypatch.setattr("gregory.launch.kubernetes.kube.BACKOFF_SECONDS", (0.1,))
        name = job_namespace.namespace
        webhook = {
            "name": "admit.gregory.test",
            "clientConfig": {"url": "https://127.0.0.1:1/admit"},
            "rules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 1,
        }
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        job_namespace.cluster.apply({**kind, "metadata": {"name": name}, "webhooks": [webhook]})
        try:
            job_namespace.cluster.until(lambda: _is_refused(job_namespace), what="the webhook to count")
            with pytest.raises(
                PreconditionFailed, match=r'^the cluster accepts no Job now: .*failed calling webhook "admit\.gregory\.test"'
            ):
                job_namespace.runner().check([])
        finally:
            job_namespace.cluster.must("delete", "validatingwebhookconfiguration", name)
        assert job_namespace.jobs() == []


def _is_refused(job_namespace: ClusterNamespace) -> bool:
    try:
        job_namespace.runner().check([])
    except PreconditionFailed:
        return True
    return False


def test_existence_is_unknown_without_permission(job_namespace: ClusterNamespace):
    runner = account(job_namespace)
    namespace = Namespace(runner.api, job_namespace.namespace)

    assert (namespace.exists("secrets", "database"), job_namespace.runner()._namespace.exists("secrets", "database")) == (None, True)
