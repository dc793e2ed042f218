"""The creation of one Job over a namespace whose answers the test sets."""

from typing import Any

import pytest

from gregory.launch.errors import Refused, SubmitError
from gregory.launch.kubernetes.submission import create_once
from gregory.runs.reasons import Reason

JOB = {"metadata": {"name": "gregory-train-0123456789ab-a1", "labels": {}}}
CREATE = 'User "system:serviceaccount:runs:controller" cannot create resource "jobs" in API group "batch" in the namespace "runs"'
ANONYMOUS = 'User "system:anonymous" cannot create resource "jobs" in API group "batch" in the namespace "runs"'
TERMINATING = "unable to create new content in namespace runs because it is being terminated"
WEBHOOK = 'admission webhook "jobs.example.org" denied the request: User "me" cannot train today'


class Refusing:
    """A namespace that refuses to create a Job."""

    name = "runs"

    def __init__(self, refusal: Refused) -> None:
        self.refusal, self.requests = refusal, 0

    def create_job(self, job: Any) -> dict[str, Any]:
        self.requests += 1
        raise self.refusal


def refused(status: int, message: str) -> Refused:
    return Refused(message, status=status, reason="", retry_after=None)


@pytest.mark.parametrize(
    ("refusal", "lacks_permission"),
    [
        (refused(401, "Unauthorized"), True),
        (refused(403, f"jobs.batch is forbidden: {CREATE}"), True),
        (refused(403, f'jobs.batch is forbidden: {CREATE}: RBAC: role.rbac.authorization.k8s.io "runs" not found'), True),
        (refused(403, f"jobs.batch is forbidden: {ANONYMOUS}"), True),
        (refused(403, 'jobs.batch "gregory-train-0" is forbidden: not yet ready to handle request'), True),
        (refused(403, 'jobs.batch "gregory-train-0" is forbidden: status unknown for quota: jobs, resources: count/jobs.batch'), True),
        (refused(429, "too many requests"), False),
        (refused(408, "the request timed out"), False),
    ],
)
def test_a_temporary_refusal_is_raised_at_once_for_a_later_submission(refusal, lacks_permission):
    namespace = Refusing(refusal)

    with pytest.raises(Refused) as raised:
        create_once(namespace, JOB, label="team/subject")

    assert (raised.value, raised.value.lacks_permission, namespace.requests) == (refusal, lacks_permission, 1)


@pytest.mark.parametrize(
    "refusal",
    [
        refused(403, 'jobs.batch "gregory-train-0" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, used: 1, limited: 1'),
        refused(403, 'jobs.batch "gregory-train-0" is forbidden: violates PodSecurity "restricted:latest": privileged'),
        refused(403, f'jobs.batch "gregory-train-0" is forbidden: {TERMINATING}'),
        refused(403, WEBHOOK),
        refused(404, 'namespaces "runs" not found'),
        refused(422, "Job.batch is invalid"),
    ],
)  # fmt: skip
def test_a_lasting_refusal_closes_the_run_with_the_words_of_the_server(refusal):
    with pytest.raises(SubmitError) as raised:
        create_once(Refusing(refusal), JOB, label="team/subject")

    assert raised.value.diagnosis.reason is Reason.REFUSED
    assert str(raised.value) == f"cannot start team/subject on the cluster: {refusal}"


def test_the_template_of_a_claim_is_created_before_the_job():
    made: list[str] = []

    class Accepting:
        name = "runs"

        def create_claim_template(self, template: Any) -> None:
            made.append(template["metadata"]["name"])

        def create_job(self, job: Any) -> dict[str, Any]:
            made.append(job["metadata"]["name"])
            return dict(job)

    create_once(Accepting(), JOB, label="team/subject", template={"metadata": {"name": "gregory-train-gpu-0"}})

    assert made == ["gregory-train-gpu-0", JOB["metadata"]["name"]]
