"""The requests of a runner to one namespace of a cluster. Imports no client."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from gregory.collector import without_collector
from gregory.launch.errors import Refused
from gregory.launch.kubernetes.kube import Api
from gregory.launch.kubernetes.labels import KUEUE_JOB_UID
from gregory.launch.kubernetes.pages import ReadPage

PAGE = 500
FORBIDDEN, NOT_FOUND, CONFLICT, EXPIRED = 403, 404, 409, 410
# Verbs and resources of the requests here, as a Role lists them. The checks of objects that a Job names need more.
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
# The server may end a watch this much later than requested.
_WATCH_MARGIN_SECONDS = 10.0
_SYSTEM = "kube-system"
# Kueue 0.15 and later.
_KUEUE = "kueue.x-k8s.io/v1beta2"
# Dynamic allocation of devices: Kubernetes 1.34 and later.
_DRA = "resource.k8s.io/v1"
_GROUPS = {
    "jobs": "batch/v1",
    **dict.fromkeys(("workloads", "localqueues", "workloadpriorityclasses"), _KUEUE),
    **dict.fromkeys(("deviceclasses", "resourceslices", "resourceclaimtemplates"), _DRA),
}
WITHOUT_NAMESPACE = ("nodes", "workloadpriorityclasses", "deviceclasses", "resourceslices")
# Only the metadata of an object, so that no secret is read.
_METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The items of a list, the time of the answer by the server's clock, and the resource version for a later watch."""

    items: list[Any]
    time: datetime
    version: str


class Namespace:
    """One namespace of a cluster. Every method raises Unreachable and Refused."""

    def __init__(self, api: Api, name: str) -> None:
        self._api, self.name = api, name

    def cluster_ids(self) -> tuple[str, ...]:
        """The ids of this cluster, best first: the uid of kube-system and the uid of this namespace.

        An account without permission for kube-system gets only the second. Any other account gets both, so it recognizes the handles
        that either account wrote.
        """
        found = []
        for name in (_SYSTEM, self.name):
            try:
                answer = self._api.request("GET", f"/api/v1/namespaces/{name}", resource="namespaces", headers=_METADATA_ONLY)
            except Refused as error:
                # The runs' namespace may not exist yet. After any other error, one cluster would have two ids.
                if error.status not in (FORBIDDEN, NOT_FOUND):
                    raise
                refusal = error
            else:
                found.append(str(answer.body["metadata"]["uid"]))
        if not found:
            raise refusal
        return tuple(found)

    def is_there(self) -> bool | None:
        """Whether the namespace exists. None: no permission."""
        return self._exists(f"/api/v1/namespaces/{self.name}", "namespaces")

    def jobs(self, selector: str, read: ReadPage | None = None) -> Listed:
        """All Jobs with these labels. read: the part of each that is read. None: all of it."""
        return self._list("jobs", {"labelSelector": selector}, read)

    def pods(self, selector: str, read: ReadPage | None = None) -> Listed:
        """All pods with these labels. read: as for Jobs."""
        return self._list("pods", {"labelSelector": selector}, read)

    def pod_changes(self, selector: str, *, since: str, seconds: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """All changes of these pods after the resource version `since`, and new changes for `seconds`.

        Each change is ADDED, MODIFIED or DELETED, with the pod. A deleted pod has its last content.
        """
        query = {"labelSelector": selector, "watch": "true", "resourceVersion": since, "timeoutSeconds": seconds}
        for change in self._api.objects(self._path("pods"), resource="pods", query=query, silence_seconds=seconds + _WATCH_MARGIN_SECONDS):
            kind, found = change["type"], change["object"]
            if kind == "ERROR":
                raise Refused(found.get("message", ""), status=found.get("code", EXPIRED), reason=found.get("reason", ""))
            yield kind, found

    def events(self, read: ReadPage | None = None) -> Listed:
        """The events of the namespace. A cluster keeps them for an hour by default. read: as for Jobs."""
        return self._list("events", {}, read)

    def workloads(self) -> list[dict[str, Any]] | None:
        """Kueue's Workloads of Jobs. None: no permission, or no Kueue."""
        return _if_permitted(lambda: self._list_of_group("workloads", {"labelSelector": KUEUE_JOB_UID}))

    def local_queue(self, name: str) -> dict[str, Any] | None:
        """Kueue's LocalQueue. Empty if there is none, or no Kueue. None: no permission."""
        return _if_permitted(lambda: self._get(self._path("localqueues", name), "localqueues") or {})

    def job(self, name: str) -> dict[str, Any] | None:
        """The Job with this name. None if there is none."""
        return self._get(self._path("jobs", name), "jobs")

    def exists(self, resource: str, name: str) -> bool | None:
        """Whether the object exists. None: no permission."""
        return self._exists(self._path(resource, name), resource)

    def claim_phase(self, name: str) -> str | None:
        """Bound, Pending or Lost. Empty if the claim does not exist. None: no permission."""
        path = self._path("persistentvolumeclaims", name)
        claim = _if_permitted(lambda: self._get(path, "persistentvolumeclaims") or {})
        return None if claim is None else str(claim.get("status", {}).get("phase", ""))

    def can_i(self, verb: str, resource: str) -> bool:
        """Whether this account has the permission in the namespace. The server decides."""
        name, _, part = resource.partition("/")
        group = _GROUPS.get(name, "").partition("/")[0]
        asked = {"namespace": self.name, "verb": verb, "group": group, "resource": name, "subresource": part}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._api.request("POST", path, resource="selfsubjectaccessreviews", body=review).body["status"]["allowed"])

    def allocates_devices(self) -> bool | None:
        """Whether the cluster has the API of DeviceClasses and claims. None: no permission."""
        return _if_permitted(lambda: self._get(f"/apis/{_DRA}", "apis") is not None)

    def minor_version(self) -> int | None:
        """The minor version of the API server, such as 34. None: no permission, or no number."""
        version = _if_permitted(lambda: self._get("/version", "version")) or {}
        # Some vendors add a "+".
        number = str(version.get("minor", "")).rstrip("+")
        return int(number) if number.isdecimal() else None

    def nodes(self, labels: Mapping[str, str]) -> list[dict[str, Any]] | None:
        """Nodes of the cluster with these labels. None: no permission."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return _if_permitted(lambda: self._list("nodes", {"labelSelector": selector}).items)

    def device_classes(self) -> list[dict[str, Any]] | None:
        """The DeviceClasses of the cluster. Empty if it has no dynamic allocation. None: no permission."""
        return _if_permitted(lambda: self._list_of_group("deviceclasses", {}) or [])

    def resource_slices(self) -> list[dict[str, Any]] | None:
        """The ResourceSlices, in which drivers offer devices. None: no permission."""
        return _if_permitted(lambda: self._list_of_group("resourceslices", {}) or [])

    def create_claim_template(self, template: Mapping[str, Any], *, dry_run: bool = False) -> None:
        """Create the ResourceClaimTemplate if there is none of this name, or check it in a dry run."""
        query, path = {"dryRun": "All"} if dry_run else {}, self._path("resourceclaimtemplates")
        try:
            self._api.request("POST", path, resource="resourceclaimtemplates", query=query, body=dict(template))
        except Refused as error:
            if error.status != CONFLICT:
                raise

    def create_job(self, job: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create the Job, or check it in a dry run. The request is not repeated if its effect is unknown."""
        query = {"dryRun": "All"} if dry_run else {}
        # A dry run creates nothing, so it may be repeated.
        return self._api.request("POST", self._path("jobs"), resource="jobs", query=query, body=dict(job), repeatable=dry_run).body

    def annotate_job(self, job: Mapping[str, Any], annotations: Mapping[str, str | None]) -> None:
        """Add annotations to exactly this Job, if it did not change since it was read."""
        metadata = job["metadata"]
        # With a resource version, the server refuses the patch of a changed Job.
        patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "annotations": dict(annotations)}}
        self._api.request("PATCH", self._path("jobs", metadata["name"]), resource="jobs", body=patch, headers=_MERGE_PATCH)

    def delete(self, resource: str, name: str, *, uid: str, grace_seconds: int | None = None) -> bool:
        """Delete exactly this object. Returns whether it existed. The garbage collector deletes its dependants."""
        options: dict[str, Any] = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._api.request("DELETE", self._path(resource, name), resource=resource, body=options)
        except Refused as error:
            # Conflict: another object has the name now.
            if error.status not in (NOT_FOUND, CONFLICT):
                raise
            return False
        return True

    def log(self, pod: str, *, container: str, lines: int, most_bytes: int) -> bytes:
        """The end of a container's log."""
        query = {"container": container, "tailLines": lines, "limitBytes": most_bytes}
        return self._api.read(self._path("pods", pod, "log"), resource="pods/log", query=query)

    def follow(self, pod: str, *, container: str, silence_seconds: float) -> Iterator[bytes]:
        """A container's whole log with time stamps, as it grows."""
        query: dict[str, Any] = {"container": container, "follow": "true", "timestamps": "true"}
        return self._api.stream(self._path("pods", pod, "log"), resource="pods/log", query=query, silence_seconds=silence_seconds)

    def _exists(self, path: str, resource: str) -> bool | None:
        return _if_permitted(lambda: self._get(path, resource, headers=_METADATA_ONLY) is not None)

    def _get(self, path: str, resource: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        try:
            return self._api.request("GET", path, resource=resource, headers=headers).body
        except Refused as error:
            if error.status != NOT_FOUND:
                raise
        return None

    def _list(self, resource: str, query: Mapping[str, Any], read: ReadPage | None = None) -> Listed:
        """All pages of a list. The list starts again if its resource version expires."""
        for _ in range(_RESTARTS):
            try:
                return self._pages(resource, query, read)
            except Refused as error:
                if error.status != EXPIRED:
                    raise
                expired = error
        raise expired

    def _list_of_group(self, resource: str, query: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """The items. None: the cluster does not have this API."""
        try:
            return self._list(resource, query).items
        except Refused as error:
            if error.status != NOT_FOUND:
                raise
        return None

    def _pages(self, resource: str, query: Mapping[str, Any], read: ReadPage | None) -> Listed:
        items: list[Any] = []
        first: datetime | None = None
        following = version = ""
        # JSON has no cycles, and the collector would visit all objects again and again.
        with without_collector():
            while first is None or following:
                asked = {**query, "limit": PAGE, **({"continue": following} if following else {})}
                answer = self._api.request("GET", self._path(resource), resource=resource, query=asked, read=read)
                metadata = answer.body.get("metadata", {})
                if first is None:
                    first, version = answer.time, str(metadata.get("resourceVersion", ""))
                items += answer.body.get("items") or []
                following = metadata.get("continue", "")
        return Listed(items=items, time=first, version=version)

    def _path(self, resource: str, *rest: str) -> str:
        group = f"/apis/{_GROUPS[resource]}" if resource in _GROUPS else "/api/v1"
        place = () if resource in WITHOUT_NAMESPACE else ("namespaces", self.name)
        return "/".join((group, *place, resource, *rest))


def _if_permitted(ask: Callable[[], _Found]) -> _Found | None:
    """The answer of the server. None: no permission."""
    try:
        return ask()
    except Refused as error:
        if error.status != FORBIDDEN:
            raise
    return None
