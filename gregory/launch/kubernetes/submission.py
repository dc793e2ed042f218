"""Making a Job once, whatever becomes of the request: an answer that is lost, a name that is taken, a server that is busy."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from gregory.launch.errors import ClusterError, Refused, SubmitError
from gregory.launch.kubernetes.diagnose.pod_status import is_being_deleted, name_of
from gregory.launch.kubernetes.labels import ATTEMPT, ATTEMPT_TOKEN, RUN_ID
from gregory.launch.kubernetes.namespace import CONFLICT, Namespace
from gregory.runs.reasons import Reason

_TRIES = 5
_PAUSE_SECONDS = 1.0


class RateLimiter:
    """At most so many a second, so that many runs at once are no burst on the API server."""

    def __init__(self, per_second: float) -> None:
        self._interval, self._next = 1 / per_second, 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Until it is our turn, whoever else waits."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        time.sleep(max(0.0, turn - time.monotonic()))


def create_once(namespace: Namespace, job: Mapping[str, Any], *, label: str) -> dict[str, Any]:
    """The Job as the server has it, made now or by an earlier call for the same attempt.

    Raises SubmitError where the server refuses it, and ClusterError where nothing is known of it, or where the server asks for patience.
    """
    for number in range(_TRIES):
        if number:
            time.sleep(_PAUSE_SECONDS)
        try:
            return namespace.create_job(job)
        except ClusterError as error:
            if isinstance(error, Refused) and error.status != CONFLICT and error.status < 500:
                raise SubmitError(f"cannot start {label} on the cluster: {error}", reason=Reason.REFUSED) from error
            # Not every conflict is over the name: a quota that others use at that moment is one, too.
            refusal = error
        # Whatever was said, the Job may be there: what counts is what the server has.
        if (found := _found(namespace, job)) is not None:
            return found
    raise refusal


def is_of_attempt(found: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Whether one Job is the other's attempt; a name alone says nothing."""
    theirs, ours = found["metadata"].get("labels") or {}, job["metadata"]["labels"]
    return all(theirs.get(key) == ours[key] for key in (RUN_ID, ATTEMPT, ATTEMPT_TOKEN))


def _found(namespace: Namespace, job: Mapping[str, Any]) -> dict[str, Any] | None:
    name = name_of(job)
    found = namespace.job(name)
    if found is None or is_being_deleted(found):
        return None
    if not is_of_attempt(found, job):
        raise SubmitError(
            f"a Job named {name} exists in namespace {namespace.name} and is not this run's; "
            f"remove it with: kubectl delete job {name} --namespace {namespace.name}"
        )
    return found
