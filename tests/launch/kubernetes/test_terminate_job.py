"""The deletion of a Job: the watch must not miss the short time in which a node shows the end of a pod."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gregory.launch.errors import Refused, TerminationTimeout
from gregory.launch.kubernetes.namespace import Listed
from gregory.launch.kubernetes.terminate_job import terminate_job
from gregory.runs.spec import RunHandle

HANDLE = RunHandle(host="kubernetes@here/ns", name="job", uid="job-uid")
Change = tuple[str, dict[str, Any]]


def a_pod(version: int, *, uid: str = "pod-uid", code: int | None = None) -> dict[str, Any]:
    state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
    statuses = [{"name": "run", "state": state}]
    return {"metadata": {"name": uid, "uid": uid, "resourceVersion": str(version)}, "status": {"containerStatuses": statuses}}


class Namespace:
    """A namespace with a Job until its deletion. The first list contains the pods, later lists none. A watch yields the changes."""

    def __init__(self, *pods: dict[str, Any], changes: list[Change], watched: bool = True) -> None:
        self.listed, self.changes, self.watched = list(pods), changes, watched
        self.job_exists, self.deleted = True, list[tuple[str, object]]()

    def job(self, name: str) -> dict[str, Any] | None:
        return {"metadata": {"uid": HANDLE.uid}} if self.job_exists else None

    def delete(self, resource: str, name: str, *, uid: str, grace_seconds: int | None = None) -> bool:
        self.deleted.append((uid, grace_seconds))
        self.job_exists = self.job_exists and resource != "jobs"
        return True

    def pods(self, selector: str) -> Listed:
        listed, self.listed = self.listed, []
        return Listed(items=listed, time=datetime.now(UTC), version="1")

    def pod_changes(self, selector: str, *, since: str, seconds: int) -> Iterator[Change]:
        if not self.watched:
            raise Refused("forbidden", status=403, reason="Forbidden", retry_after=None)
        later = [change for change in self.changes if int(change[1]["metadata"]["resourceVersion"]) > int(since)]
        yield from later


def test_a_short_visible_end_is_observed():
    namespace = Namespace(a_pod(1), changes=[("MODIFIED", a_pod(2, code=143)), ("DELETED", a_pod(3, code=143))])

    assert terminate_job(namespace, HANDLE, grace_seconds=2.5) == a_pod(3, code=143)
    assert namespace.deleted == [("job-uid", None), ("pod-uid", 3)]


def test_the_last_content_of_a_deleted_pod_is_its_end():
    namespace = Namespace(a_pod(1), changes=[("DELETED", a_pod(2, code=137))])

    assert terminate_job(namespace, HANDLE, grace_seconds=1) == a_pod(2, code=137)


def test_a_later_pod_is_deleted_too():
    late = [("ADDED", a_pod(2, uid="late")), ("DELETED", a_pod(3)), ("DELETED", a_pod(4, uid="late"))]
    namespace = Namespace(a_pod(1), changes=late)

    assert terminate_job(namespace, HANDLE, grace_seconds=1) is None
    assert namespace.deleted == [("job-uid", None), ("pod-uid", 1), ("late", 1)]


def test_an_account_without_watch_observes_the_deletion():
    namespace = Namespace(a_pod(1), changes=[], watched=False)

    assert terminate_job(namespace, HANDLE, grace_seconds=1) is None


def test_a_missing_confirmation_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gregory.launch.kubernetes.terminate_job.CONFIRMATION_SECONDS", -1.5)

    with pytest.raises(TerminationTimeout, match=r"^Job job was deleted, but its node does not confirm that its pod has ended$"):
        terminate_job(Namespace(a_pod(1), changes=[]), HANDLE, grace_seconds=1)
