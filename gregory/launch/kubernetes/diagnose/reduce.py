"""The fields of each object that a diagnosis reads, and no others. Pure.

A diagnosis that reads a further field needs it here. The test of this module compares all recorded causes with and without the others.
"""

from collections.abc import Collection
from typing import Any

from typing_extensions import TypedDict

from gregory.launch.kubernetes.pages import Page, PageOf, reader


class _Metadata(TypedDict, total=False):
    name: Any
    uid: Any
    labels: Any
    creationTimestamp: Any
    deletionTimestamp: Any


class _Condition(TypedDict, total=False):
    type: Any
    status: Any
    reason: Any
    message: Any
    lastTransitionTime: Any


class _JobSpec(TypedDict, total=False):
    suspend: Any


class _JobStatus(TypedDict, total=False):
    startTime: Any
    conditions: list[_Condition] | None


class _Job(TypedDict, total=False):
    metadata: _Metadata
    spec: _JobSpec
    status: _JobStatus


class _Container(TypedDict, total=False):
    name: Any
    restartPolicy: Any
    resources: Any


class _Volume(TypedDict, total=False):
    persistentVolumeClaim: Any


class _PodSpec(TypedDict, total=False):
    nodeName: Any
    activeDeadlineSeconds: Any
    terminationGracePeriodSeconds: Any
    containers: list[_Container]
    initContainers: list[_Container] | None
    volumes: list[_Volume] | None
    resourceClaims: Any


class _ContainerStatus(TypedDict, total=False):
    name: Any
    image: Any
    containerID: Any
    started: Any
    state: Any
    lastState: Any


class _PodStatus(TypedDict, total=False):
    phase: Any
    reason: Any
    message: Any
    startTime: Any
    conditions: list[_Condition] | None
    containerStatuses: list[_ContainerStatus] | None
    initContainerStatuses: list[_ContainerStatus] | None
    resourceClaimStatuses: Any


class _Pod(TypedDict, total=False):
    metadata: _Metadata
    spec: _PodSpec
    status: _PodStatus


class _About(TypedDict, total=False):
    kind: str
    name: str
    fieldPath: Any


class _Event(TypedDict, total=False):
    involvedObject: _About
    reason: Any
    message: Any
    series: Any
    lastTimestamp: Any
    eventTime: Any


jobs = reader(PageOf[_Job])
pods = reader(PageOf[_Pod])
_all_events = reader(PageOf[_Event])


def events(content: bytes, jobs: Collection[str]) -> Page:
    """The page with the events about these Jobs, their pods and Workloads, and those about claims."""
    page = _all_events(content)
    return {**page, "items": [event for event in page.get("items") or () if _concerns(event.get("involvedObject", {}), jobs)]}


def _concerns(about: _About, jobs: Collection[str]) -> bool:
    kind, name = about.get("kind", ""), about.get("name", "")
    of_job = name if kind == "Job" else name.removeprefix("job-").rpartition("-")[0] if kind in ("Pod", "Workload") else ""
    return of_job in jobs or kind == "PersistentVolumeClaim"
