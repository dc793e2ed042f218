"""One Job per attempt whatever becomes of the request, and what is known before any row is written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gregory.launch.errors import PreconditionFailed, SubmitError
from gregory.launch.kubernetes import submission
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.runner import KubernetesRunner
from gregory.launch.runner import Rendered, Status
from gregory.runs.spec import RunHandle, new_token
from tests.kubernetes import proxy as proxies
from tests.kubernetes.proxy import Proxy
from tools.cluster.namespace import SLEEPS, ClusterNamespace, a_run, with_code

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy(cluster_namespace: ClusterNamespace) -> Iterator[Proxy]:
    with proxies.running(cluster_namespace.cluster.kubeconfig.parent) as proxy:
        yield proxy


def through(proxy: Proxy, cluster_namespace: ClusterNamespace, **variables: str) -> KubernetesRunner:
    """The runner of somebody who knows the cluster by the proxy's address alone."""
    file = cluster_namespace.folder / "proxy.kubeconfig"
    named = {"name": "proxy", "cluster": {"server": proxy.url}}
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    file.write_text(
        json.dumps({"clusters": [named], "contexts": [context], "users": [{"name": "nobody", "user": {}}], "current-context": "proxy"})
    )
    return cluster_namespace.runner(KUBECONFIG=str(file), **variables)


def suspended(runner: KubernetesRunner, **changes: Any) -> Rendered:
    """A run that takes no place on the node."""
    spec = a_run(**changes)
    job = with_code(runner.render(spec).request, SLEEPS)
    job["spec"]["suspend"] = True
    return Rendered(spec=spec, request=job)


class TestOnce:
    def test_a_second_submission_adopts_the_first(self, cluster_namespace: ClusterNamespace):
        runner = cluster_namespace.runner()
        rendered = suspended(runner)
        handle = runner.submit(rendered)

        assert cluster_namespace.runner().submit(rendered) == handle
        assert len(cluster_namespace.jobs()) == 1

    def test_another_token_is_another_run(self, cluster_namespace: ClusterNamespace):
        runner = cluster_namespace.runner()
        rendered = suspended(runner)
        runner.submit(rendered)

        with pytest.raises(SubmitError, match=r"exists in namespace .* and is not this run's"):
            runner.submit(suspended(runner, run_id=rendered.spec.run_id, attempt_token=new_token()))

    def test_what_is_refused_is_not_asked_again(self, cluster_namespace: ClusterNamespace):
        runner = cluster_namespace.runner()
        rendered = suspended(runner)
        rendered.request["spec"]["backoffLimit"] = -1

        with pytest.raises(SubmitError, match=r"^cannot start any/any on the cluster: Job.batch .* is invalid: spec.backoffLimit"):
            runner.submit(rendered)

        assert runner.api.calls["POST jobs"] == 1

    def test_submission_keeps_its_pace(self, cluster_namespace: ClusterNamespace):
        cluster_namespace.config["submission"] = {"perSecond": 0.1}
        runner, slept = cluster_namespace.runner(), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(submission.time, "sleep", slept.append)
            for _ in range(3):
                runner.submit(suspended(runner))

        # Nobody has slept, so each turn is ten seconds after the one before, less what the submissions took.
        assert slept[0] == 0 < slept[1] <= 10 < slept[2] <= 20


class TestCalls:
    def test_any_number_of_runs_is_two_lists(self, cluster_namespace: ClusterNamespace):
        runner = cluster_namespace.runner()
        handles = [runner.submit(suspended(runner)) for _ in range(30)]
        runner.api.calls.clear()

        seen = runner.observe(handles)

        assert {one.status for one in seen} == {Status.PENDING}
        assert runner.api.calls == {"GET pods": 1, "GET jobs": 1}

    def test_lists_are_read_page_by_page(self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("gregory.launch.kubernetes.namespace.PAGE", 4)
        runner = cluster_namespace.runner()
        handles = [runner.submit(suspended(runner)) for _ in range(10)]
        runner.api.calls.clear()

        assert [one.status for one in runner.observe(handles)] == [Status.PENDING] * 10
        assert runner.api.calls == {"GET pods": 1, "GET jobs": 3}

    def test_too_many_requests_are_asked_again_when_the_server_says(self, cluster_namespace: ClusterNamespace, proxy: Proxy):
        refusals = iter([(429, {"Retry-After": "1"}), (503, {}), (429, {})])
        runner = through(proxy, cluster_namespace)
        rendered = suspended(runner)
        proxy.answer = lambda method, path: next(refusals, None) if method == "POST" else None

        handle = runner.submit(rendered)

        assert [job["metadata"]["uid"] for job in cluster_namespace.jobs()] == [handle.uid]
        assert proxy.seen["POST"] == 4


class TestIdentity:
    def test_a_namespace_s_account_knows_the_cluster_by_the_namespace(self, cluster_namespace: ClusterNamespace):
        """Who may read kube-system knows both names; who may not still sees what the other submitted."""
        narrow = account(cluster_namespace)
        wide = cluster_namespace.runner()

        submitted, by_admin = narrow.submit(suspended(narrow)), wide.submit(suspended(wide))

        assert submitted.host != by_admin.host
        for runner in (narrow, wide):
            assert [one.status for one in runner.observe([submitted, by_admin])] == [Status.PENDING] * 2
        narrow.cancel(by_admin, grace_seconds=1)
        assert [job["metadata"]["uid"] for job in cluster_namespace.jobs()] == [submitted.uid]
        gone = [handle.model_copy(update={"uid": "gone"}) for handle in (submitted, by_admin)]
        assert [one.missing for one in wide.observe(gone)] == [True, True]
        assert [one.status for one in narrow.observe(gone)] == [Status.TERMINATED, Status.UNKNOWN]

    def test_a_token_that_aged_is_read_again(self, cluster_namespace: ClusterNamespace):
        runner = account(cluster_namespace)
        handle = runner.submit(suspended(runner))
        file = Path(cluster_namespace.folder / "account.kubeconfig")
        content = json.loads(file.read_text())
        good = content["users"][0]["user"]["token"]
        content["users"][0]["user"]["token"] = "aged"
        file.write_text(json.dumps(content))
        aged = cluster_namespace.runner(KUBECONFIG=str(file))
        (unknown,) = aged.observe([handle])
        assert (unknown.status, unknown.text) == (Status.UNKNOWN, "Unauthorized")

        content["users"][0]["user"]["token"] = good
        file.write_text(json.dumps(content))

        assert aged.observe([handle])[0].status is Status.PENDING

    def test_another_context(self, cluster_namespace: ClusterNamespace):
        runner = cluster_namespace.runner(GREGORY_KUBECONTEXT="none")

        (seen,) = runner.observe([RunHandle(host="kubernetes@x/y", name="n", uid="u")])

        assert seen.status is Status.UNKNOWN
        assert seen.text.startswith("no usable kubeconfig: ")
        assert seen.text.endswith("; name a kubeconfig in KUBECONFIG, and its context in GREGORY_KUBECONTEXT")


def account(cluster_namespace: ClusterNamespace) -> KubernetesRunner:
    """What a submitter needs, in its own namespace, and nothing else."""
    here = {"namespace": cluster_namespace.namespace}
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "delete", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [cluster_namespace.namespace], "verbs": ["get"]},
    ]
    group = "rbac.authorization.k8s.io"
    cluster_namespace.cluster.apply(
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
    content = json.loads(cluster_namespace.cluster.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": cluster_namespace.kubectl("create", "token", "submitter").strip()}
    file = cluster_namespace.folder / "account.kubeconfig"
    file.write_text(json.dumps(content))
    return cluster_namespace.runner(KUBECONFIG=str(file))


class TestCheck:
    def test_all_is_well(self, cluster_namespace: ClusterNamespace):
        cluster_namespace.runner().check()

    def test_as_far_as_an_account_may_see(self, cluster_namespace: ClusterNamespace):
        account(cluster_namespace).check()

        assert cluster_namespace.jobs() == []

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
    def test_what_every_run_would_fail_for(self, cluster_namespace: ClusterNamespace, section: str, value: Any, told: str):
        cluster_namespace.config[section] = value

        with pytest.raises(PreconditionFailed, match=told):
            cluster_namespace.runner().check()

    def test_an_optional_object_need_not_be_there(self, cluster_namespace: ClusterNamespace):
        cluster_namespace.config["env"] = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": True}}}]

        cluster_namespace.runner().check()

    def test_a_dry_run_leaves_nothing(self, cluster_namespace: ClusterNamespace):
        runner = cluster_namespace.runner()

        runner.check()

        assert runner.api.calls["POST jobs"] == 1
        assert cluster_namespace.jobs() == []

    def test_a_webhook_that_is_down_is_named(self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        """C12: what admits Jobs does not answer."""
        monkeypatch.setattr("gregory.launch.kubernetes.kube.BACKOFF_SECONDS", (0.1,))
        name = cluster_namespace.namespace
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
        cluster_namespace.cluster.apply({**kind, "metadata": {"name": name}, "webhooks": [webhook]})
        try:
            cluster_namespace.cluster.until(lambda: _is_refused(cluster_namespace), what="the webhook to count")
            with pytest.raises(
                PreconditionFailed, match=r'^the cluster would refuse every Job: .*failed calling webhook "admit\.gregory\.test"'
            ):
                cluster_namespace.runner().check()
        finally:
            cluster_namespace.cluster.must("delete", "validatingwebhookconfiguration", name)
        assert cluster_namespace.jobs() == []


def _is_refused(cluster_namespace: ClusterNamespace) -> bool:
    try:
        cluster_namespace.runner().check()
    except PreconditionFailed:
        return True
    return False


def test_a_namespace_is_asked_for_nothing_that_an_account_may_not(cluster_namespace: ClusterNamespace):
    runner = account(cluster_namespace)
    namespace = Namespace(runner.api, cluster_namespace.namespace)

    assert (namespace.exists("secrets", "database"), cluster_namespace.runner()._namespace.exists("secrets", "database")) == (None, True)
