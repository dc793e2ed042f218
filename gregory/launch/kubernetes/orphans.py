"""Delete the Jobs of runs that have ended.

A run that has just closed its rows will exit by itself, and its log must remain. So a Job is deleted only if it is still there after a
grace period. An annotation of the Job holds the time of the first observation, so that any process can delete it later.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator
from typing_extensions import TypedDict

from gregory.env import DATABASE_VARIABLES
from gregory.launch.kubernetes.diagnose.pod_status import Object, is_being_deleted, is_finished, name_of, terminal_condition
from gregory.launch.kubernetes.labels import ORPHANED, RUN_ID
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.pages import PageOf, reader
from gregory.launch.kubernetes.pod_patch import CONTAINER

GRACE = timedelta(seconds=60)
# Roles of one database differ in user and password.
_DATABASE = {DATABASE_VARIABLES[part] for part in ("name", "host", "port")}


class _Metadata(TypedDict, total=False):
    name: Any
    uid: Any
    resourceVersion: Any
    labels: Any
    annotations: Any
    deletionTimestamp: Any


class _Variable(TypedDict, total=False):
    name: str
    value: Any
    valueFrom: Any


def _of_database(variables: list[_Variable]) -> list[_Variable]:
    return [variable for variable in variables if variable.get("name") in _DATABASE]


class _Container(TypedDict, total=False):
    name: Any
    env: Annotated[list[_Variable], AfterValidator(_of_database)]


class _Volume(TypedDict, total=False):
    name: Any
    persistentVolumeClaim: Any


class _PodSpec(TypedDict, total=False):
    containers: list[_Container]
    volumes: list[_Volume]


class _Template(TypedDict, total=False):
    spec: _PodSpec


class _Spec(TypedDict, total=False):
    suspend: Any
    template: _Template


class _Status(TypedDict, total=False):
    startTime: Any
    conditions: Any


class _Job(TypedDict, total=False):
    metadata: _Metadata
    spec: _Spec
    status: _Status


# The part of a Job that this module reads.
read_jobs = reader(PageOf[_Job])


def is_orphan(job: Object, unfinished: Collection[str], *, ours: Object) -> bool:
    """Whether a Job that may still work, or that cannot end, has no unfinished run.

    `ours` is a Job of this installation: a namespace may have two.
    """
    # A Job that is about to end starts no pod. A slow node may confirm the end of its pod long after the run, and its log must remain.
    return (terminal_condition(job) is None or _cannot_end(job)) and _is_of_ended_run(job, unfinished, ours=ours)


def is_finished_orphan(job: Object, unfinished: Collection[str], *, ours: Object) -> bool:
    """Whether a finished Job has no unfinished run. It remains for its log."""
    return is_finished(job) and _is_of_ended_run(job, unfinished, ours=ours)


def remove(namespace: Namespace, job: Object, *, now: datetime) -> bool:
    """Annotate the Job, or delete it if the annotation is older than GRACE. Returns whether the Job was deleted."""
    since = _time_of((job["metadata"].get("annotations") or {}).get(ORPHANED, ""))
    if since is None:
        namespace.annotate_job(job, {ORPHANED: now.isoformat(timespec="seconds")})
        return False
    if now - since < GRACE:
        return False
    return namespace.delete("jobs", name_of(job), uid=job["metadata"]["uid"])


def _cannot_end(job: Object) -> bool:
    """Whether the API server refuses the end of a Job that is about to end.

    It accepts no end without startTime, and the Job controller sets none while the Job is suspended. Kueue removes startTime when it
    suspends a Job, also one whose pod has succeeded while the webhook of Kueue was down.
    """
    return bool(job["spec"].get("suspend")) and not is_finished(job) and not job["status"].get("startTime")


def _time_of(annotation: str) -> datetime | None:
    """The time in an annotation. None if there is none: every user of the namespace can change the annotation."""
    try:
        time = datetime.fromisoformat(annotation)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _is_of_ended_run(job: Object, unfinished: Collection[str], *, ours: Object) -> bool:
    if is_being_deleted(job) or job["metadata"].get("labels", {}).get(RUN_ID) in unfinished:
        return False
    try:
        return _ownership(job) == _ownership(ours)
    except (LookupError, TypeError, ValueError):
        # Another version of this program may have made the Job.
        return False


def _ownership(job: Object) -> object:
    """The database and the models volume of a Job's run."""
    pod = job["spec"]["template"]["spec"]
    (run,) = [container for container in pod["containers"] if container["name"] == CONTAINER]
    database = {variable["name"]: variable for variable in run["env"] if variable["name"] in _DATABASE}
    claims = {volume["name"]: volume.get("persistentVolumeClaim") for volume in pod["volumes"] if volume["name"] == "models"}
    return database, claims
