"""What a runner asks of one namespace of a cluster: its Jobs and pods in one list each, and little else. No client is imported here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from gregory.launch.errors import Refused
from gregory.launch.kubernetes.kube import Answer, Api

PAGE = 500
FORBIDDEN, NOT_FOUND, CONFLICT, EXPIRED = 403, 404, 409, 410
# Verbs and resources of what is asked here, as a Role has them; beside them, to see whether what a Job names is there.
RIGHTS = (
    ("create", "jobs"),
    ("delete", "jobs"),
    ("get", "jobs"),
    ("list", "jobs"),
    ("patch", "jobs"),
    ("delete", "pods"),
    ("list", "pods"),
    ("watch", "pods"),
    ("get", "pods/log"),
    ("list", "events"),
)
_RESTARTS = 3
# What the end of a watch may be late.
_PATIENCE_SECONDS = 10.0
_SYSTEM = "kube-system"
# Who an object is, without what is in it: secrets stay where they are.
_METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a list held, and when that was so: by the server's clock, and as a version from which changes can be had."""

    items: list[dict[str, Any]]
    moment: datetime
    version: str


class Namespace:
    """One namespace of one cluster. Every method raises Unreachable and Refused."""

    def __init__(self, api: Api, name: str) -> None:
        self._api, self.name = api, name

    def cluster_ids(self) -> tuple[str, ...]:
        """What names this cluster among all, best first: the uid of kube-system, and that of this namespace.

        Who may not read the first has the second alone. Whoever may knows both, and so whatever the other wrote.
        """
        found = []
        for name in (_SYSTEM, self.name):
            try:
                answer = self._api.request("GET", f"/api/v1/namespaces/{name}", resource="namespaces", headers=_METADATA_ONLY)
            except Refused as error:
                # Not found: our own, which may not be there yet. Anything else would give one cluster two names.
                if error.status not in (FORBIDDEN, NOT_FOUND):
                    raise
                refusal = error
            else:
                found.append(str(answer.body["metadata"]["uid"]))
        if not found:
            raise refusal
        return tuple(found)

    def is_there(self) -> bool | None:
        """Whether there is such a namespace; None: not for us to see."""
        return self._exists(f"/api/v1/namespaces/{self.name}", "namespaces")

    def jobs(self, selector: str) -> Listed:
        """All Jobs with these labels."""
        return self._list("jobs", {"labelSelector": selector})

    def pods(self, selector: str) -> Listed:
        """All pods with these labels."""
        return self._list("pods", {"labelSelector": selector})

    def pod_changes(self, selector: str, *, since: str, seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """What became of these pods after that version, none left out, and what becomes of them for so long.

        ADDED, MODIFIED or DELETED, and the pod; of one that is deleted, as it was last.
        """
        query = {"labelSelector": selector, "watch": "true", "resourceVersion": since, "timeoutSeconds": seconds}
        for change in self._api.objects(self._path("pods"), resource="pods", query=query, silence_seconds=seconds + _PATIENCE_SECONDS):
            kind, found = change["type"], change["object"]
            if kind == "ERROR":
                raise Refused(found.get("message", ""), status=found.get("code", EXPIRED), reason=found.get("reason", ""))
            yield kind, found

    def events(self) -> Listed:
        """What the cluster still tells of the last hour."""
        return self._list("events", {})

    def job(self, name: str) -> dict[str, Any] | None:
        """The Job of that name; None where there is none."""
        return self._get(self._path("jobs", name), "jobs")

    def exists(self, resource: str, name: str) -> bool | None:
        """Whether there is such an object; None: not for us to see."""
        return self._exists(self._path(resource, name), resource)

    def claim_phase(self, name: str) -> str | None:
        """Bound, Pending or Lost; empty where there is no such claim; None: not for us to see."""
        path = self._path("persistentvolumeclaims", name)
        claim = _as_far_as_shown(lambda: self._get(path, "persistentvolumeclaims") or {})
        return None if claim is None else str(claim.get("status", {}).get("phase", ""))

    def can_i(self, verb: str, resource: str) -> bool:
        """Whether this identity may do so in the namespace, as the server judges it."""
        name, _, part = resource.partition("/")
        asked = {"namespace": self.name, "verb": verb, "group": "batch" if name == "jobs" else "", "resource": name, "subresource": part}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._api.request("POST", path, resource="selfsubjectaccessreviews", body=review).body["status"]["allowed"])

    def nodes(self, labels: Mapping[str, str]) -> list[dict[str, Any]] | None:
        """Nodes of the cluster with these labels; None: not for us to see."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return _as_far_as_shown(lambda: self._list("nodes", {"labelSelector": selector}).items)

    def create_job(self, job: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Make the Job; or, dry, let the server say whether it would. Not repeated where its fate is unknown."""
        query = {"dryRun": "All"} if dry_run else {}
        # The uncommitted half of a dry run cannot exist twice.
        return self._api.request("POST", self._path("jobs"), resource="jobs", query=query, body=dict(job), repeatable=dry_run).body

    def annotate_job(self, job: Mapping[str, Any], annotations: Mapping[str, str | None]) -> None:
        """Add annotations to exactly this Job, as it was read."""
        metadata = job["metadata"]
        # With the version, a Job that changed meanwhile refuses.
        patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "annotations": dict(annotations)}}
        self._api.request("PATCH", self._path("jobs", metadata["name"]), resource="jobs", body=patch, headers=_MERGE_PATCH)

    def delete(self, resource: str, name: str, *, uid: str, grace_seconds: int | None = None) -> bool:
        """Delete exactly this object; whether it was there. Its dependants are the garbage collector's."""
        options: dict[str, Any] = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._api.request("DELETE", self._path(resource, name), resource=resource, body=options)
        except Refused as error:
            # Conflict: the name is another's by now.
            if error.status not in (NOT_FOUND, CONFLICT):
                raise
            return False
        return True

    def log(self, pod: str, *, container: str, lines: int, most_bytes: int) -> bytes:
        """The end of a container's log."""
        query = {"container": container, "tailLines": lines, "limitBytes": most_bytes}
        return self._api.read(self._path("pods", pod, "log"), resource="pods/log", query=query)

    def follow(self, pod: str, *, container: str, since: str, silence_seconds: float) -> Iterator[bytes]:
        """A container's log with time stamps, from that second on, as it grows."""
        query: dict[str, Any] = {"container": container, "follow": "true", "timestamps": "true"}
        if since:
            query["sinceTime"] = since
        return self._api.stream(self._path("pods", pod, "log"), resource="pods/log", query=query, silence_seconds=silence_seconds)

    def _exists(self, path: str, resource: str) -> bool | None:
        return _as_far_as_shown(lambda: self._get(path, resource, headers=_METADATA_ONLY) is not None)

    def _get(self, path: str, resource: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        try:
            return self._api.request("GET", path, resource=resource, headers=headers).body
        except Refused as error:
            if error.status != NOT_FOUND:
                raise
        return None

    def _list(self, resource: str, query: Mapping[str, Any]) -> Listed:
        """Page by page. A list that takes so long that its state is forgotten is begun anew."""
        for _ in range(_RESTARTS):
            try:
                return self._pages(resource, query)
            except Refused as error:
                if error.status != EXPIRED:
                    raise
                expired = error
        raise expired

    def _pages(self, resource: str, query: Mapping[str, Any]) -> Listed:
        items: list[dict[str, Any]] = []
        first: Answer | None = None
        following = ""
        while first is None or following:
            asked = {**query, "limit": PAGE, **({"continue": following} if following else {})}
            answer = self._api.request("GET", self._path(resource), resource=resource, query=asked)
            first = first or answer
            items += answer.body.get("items") or []
            following = answer.body.get("metadata", {}).get("continue", "")
        return Listed(items=items, moment=first.moment, version=str(first.body.get("metadata", {}).get("resourceVersion", "")))

    def _path(self, resource: str, *rest: str) -> str:
        if resource == "nodes":
            return "/api/v1/nodes"
        group = "/apis/batch/v1" if resource == "jobs" else "/api/v1"
        return "/".join((group, "namespaces", self.name, resource, *rest))


def _as_far_as_shown(ask: Callable[[], _Found]) -> _Found | None:
    """What the server says; None: not for us to see."""
    try:
        return ask()
    except Refused as error:
        if error.status != FORBIDDEN:
            raise
    return None
