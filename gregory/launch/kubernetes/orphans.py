"""Jobs that are still to do something for a run that has ended: told from other people's, and deleted at the second look.

The run that has just closed its rows is about to exit by itself, and its log is to stay: hence two looks. The first is noted
on the Job, so that it does not matter which process looks.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from gregory.env import DATABASE_VARIABLES
from gregory.launch.kubernetes.diagnose.pod_status import Object, is_being_deleted, is_finished, name_of, parse_time
from gregory.launch.kubernetes.labels import ORPHANED, RUN_ID
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.pod_patch import CONTAINER

GRACE = timedelta(seconds=60)
# Roles of one database differ in user and password.
_DATABASE = {DATABASE_VARIABLES[part] for part in ("name", "host", "port")}


def is_orphan(job: Object, unfinished: Collection[str], *, ours: Object) -> bool:
    """Whether nobody waits for it any more. ours: a Job of this installation; two may share a namespace."""
    return not is_finished(job) and _is_nobodys(job, unfinished, ours=ours)


def is_finished_orphan(job: Object, unfinished: Collection[str], *, ours: Object) -> bool:
    """Whether it stays only to be looked at."""
    return is_finished(job) and _is_nobodys(job, unfinished, ours=ours)


def remove(namespace: Namespace, job: Object, *, now: datetime) -> bool:
    """Note it, or delete it where that was done long enough ago; whether it was deleted."""
    since = (job["metadata"].get("annotations") or {}).get(ORPHANED)
    if since is None:
        namespace.annotate_job(job, {ORPHANED: now.isoformat(timespec="seconds")})
        return False
    if now - parse_time(since) < GRACE:
        return False
    return namespace.delete("jobs", name_of(job), uid=job["metadata"]["uid"])


def _is_nobodys(job: Object, unfinished: Collection[str], *, ours: Object) -> bool:
    if is_being_deleted(job) or job["metadata"]["labels"].get(RUN_ID) in unfinished:
        return False
    return _ownership(job) == _ownership(ours)


def _ownership(job: Object) -> object:
    """Which database a Job's run reports to, and where its models go."""
    pod = job["spec"]["template"]["spec"]
    (run,) = [container for container in pod["containers"] if container["name"] == CONTAINER]
    database = {variable["name"]: variable for variable in run["env"] if variable["name"] in _DATABASE}
    claims = {volume["name"]: volume.get("persistentVolumeClaim") for volume in pod["volumes"] if volume["name"] == "models"}
    return database, claims
