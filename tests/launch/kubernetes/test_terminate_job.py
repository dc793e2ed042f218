"""What is seen of a pod on its way out: a node may show its end for no longer than a moment."""

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
    """With a Job until it is deleted, these pods in its first list and none in later ones, and these changes in between."""

    def __init__(self, *pods: dict[str, Any], changes: list[Change], watched: bool = True) -> None:
        self.listed, self.changes, self.watched = list(pods), changes, watched
        self.there, self.asked = True, list[tuple[str, object]]()

    def job(self, name: str) -> dict[str, Any] | None:
        return {"metadata": {"uid": HANDLE.uid}} if self.there else None

    def delete(self, resource: str, name: str, *, uid: str, grace_seconds: int | None = None) -> bool:
        self.asked.append((uid, grace_seconds))
        self.there = self.there and resource != "jobs"
        return True

    def pods(self, selector: str) -> Listed:
        listed, self.listed = self.listed, []
        return Listed(items=listed, time=datetime.now(UTC), version="1")

    def pod_changes(self, selector: str, *, since: str, seconds: int) -> Iterator[Change]:
        if not self.watched:
            raise Refused("forbidden", status=403, reason="Forbidden", retry_after=None)
        later = [change for change in self.changes if int(change[1]["metadata"]["resourceVersion"]) > int(since)]
        yield from later


def test_an_end_that_is_shown_for_a_moment_is_seen():
    namespace = Namespace(a_pod(1), changes=[("MODIFIED", a_pod(2, code=143)), ("DELETED", a_pod(3, code=143))])

    assert terminate_job(namespace, HANDLE, grace_seconds=2.5) == a_pod(3, code=143)
    assert namespace.asked == [("job-uid", None), ("pod-uid", 3)]


def test_an_end_that_only_the_deletion_shows():
    namespace = Namespace(a_pod(1), changes=[("DELETED", a_pod(2, code=137))])

    assert terminate_job(namespace, HANDLE, grace_seconds=1) == a_pod(2, code=137)


def test_a_pod_that_comes_late_is_told_to_end_too():
    late = [("ADDED", a_pod(2, uid="late")), ("DELETED", a_pod(3)), ("DELETED", a_pod(4, uid="late"))]
    namespace = Namespace(a_pod(1), changes=late)

    assert terminate_job(namespace, HANDLE, grace_seconds=1) is None
    assert namespace.asked == [("job-uid", None), ("pod-uid", 1), ("late", 1)]


def test_who_may_only_list_sees_them_gone():
    namespace = Namespace(a_pod(1), changes=[], watched=False)

    assert terminate_job(namespace, HANDLE, grace_seconds=1) is None


def test_nothing_is_gone_because_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gregory.launch.kubernetes.terminate_job.CONFIRMATION_SECONDS", -1.5)

    with pytest.raises(TerminationTimeout, match=r"^Job job was deleted, but its node does not confirm that its pod has ended$"):
        terminate_job(Namespace(a_pod(1), changes=[]), HANDLE, grace_seconds=1)
