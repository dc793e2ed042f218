"""Create one Job per attempt, despite lost answers, name conflicts and a busy API server."""

import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from gregory.launch.errors import ClusterError, Refused, SubmitError
from gregory.launch.kubernetes.diagnose.pod_status import is_being_deleted, name_of
from gregory.launch.kubernetes.labels import ATTEMPT, ATTEMPT_TOKEN, RUN_ID
from gregory.launch.kubernetes.namespace import CONFLICT, Namespace
from gregory.runs.reasons import Reason

_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0


class RateLimiter:
    """Limits submissions to `per_second`, so that many runs do not overload the API server."""

    def __init__(self, per_second: float) -> None:
        self._interval, self._next = 1 / per_second, 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until the next submission is allowed. Several threads may call this."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        time.sleep(max(0.0, turn - time.monotonic()))


def create_once(namespace: Namespace, job: Mapping[str, Any], *, label: str, template: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The Job on the server, created now or by an earlier call for the same attempt. template: of its claim, created before it.

    Raises SubmitError if the server refuses the Job. Raises ClusterError if the result is unknown or a later request may succeed.
    """
    for number in range(_ATTEMPTS):
        if number:
            time.sleep(_PAUSE_SECONDS)
        try:
            if template is not None:
                namespace.create_claim_template(template)
            return namespace.create_job(job)
        except ClusterError as error:
            if isinstance(error, Refused) and not error.is_temporary:
                raise SubmitError(f"cannot start {label} on the cluster: {error}", reason=Reason.REFUSED) from error
            if isinstance(error, Refused) and error.status != CONFLICT and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                # The server has not executed the request, and a second later it would refuse it again.
                raise
            # A conflict may concern the name, or a quota that another request changes at the same time.
            refusal = error
        # After any error the Job may exist. Only the server knows.
        if (found := _found(namespace, job)) is not None:
            return found
    raise refusal


def _found(namespace: Namespace, job: Mapping[str, Any]) -> dict[str, Any] | None:
    name = name_of(job)
    found = namespace.job(name)
    if found is None or is_being_deleted(found):
        return None
    theirs, ours = found["metadata"].get("labels") or {}, job["metadata"]["labels"]
    # The name alone does not identify an attempt.
    if any(theirs.get(key) != ours[key] for key in (RUN_ID, ATTEMPT, ATTEMPT_TOKEN)):
        raise SubmitError(
            f"a Job named {name} exists in namespace {namespace.name} and is not this run's; "
            f"remove it with: kubectl delete job {name} --namespace {namespace.name}"
        )
    return found
