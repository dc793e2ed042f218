"""Checks the Jobs of a run, from the cluster and from the audit log of the API server. Pure."""

from collections import Counter
from collections.abc import Iterator

from tools.chaos.records import Evidence, Request, Run
from tools.chaos.script import Fault

CREATED, CONFLICT = 201, 409
# The product deletes the Job of an attempt that has not ended only for these reasons.
ANNOUNCED = frozenset({"cancelled", "stalled", "deadline", "image_pull", "unschedulable", "missing_object", "not_started", "refused"})


def of(evidence: Evidence, run: Run) -> Iterator[str]:
    """Each attempt has exactly one Job. The product deletes no Job of an attempt at work."""
    for job in evidence.jobs:
        if not job.finished:
            yield f"Job {job.name} has not finished"
        if job.attempt > run.attempt:
            yield f"Job {job.name} belongs to an attempt that was not opened"
    existing = Counter(job.attempt for job in evidence.jobs)
    created = Counter(one.attempt for one in evidence.requests if one.verb == "create" and one.code == CREATED)
    for attempt in range(1, max([run.attempt, *existing, *created]) + 1):
        yield from _one_job(evidence, run, attempt, existing[attempt], created[attempt])
    retried = sum(event.kind == "retried" for event in evidence.events)
    if retried != run.attempt - 1:
        yield f"{retried} events of a retry for {run.attempt} attempts"
    for request in evidence.requests:
        if request.verb == "delete" and request.code < 300 and request.by_product:
            yield from _deletion(evidence, run, request)


def _one_job(evidence: Evidence, run: Run, attempt: int, existing: int, created: int) -> Iterator[str]:
    if existing > 1 or created > 1:
        yield f"{max(existing, created)} Jobs of attempt {attempt}"
    if attempt > run.attempt and created:
        yield f"a Job of attempt {attempt} was made, which was not opened"
    # The API server can be killed between the creation and its record.
    known = existing or created or any(one.attempt == attempt and one.code == CONFLICT for one in evidence.requests)
    trained = any(training.attempt == attempt for training in evidence.trainings)
    needed = trained or attempt < run.attempt or run.state == "succeeded"
    if needed and not known and attempt <= run.attempt:
        yield f"attempt {attempt} has no Job"


def _deletion(evidence: Evidence, run: Run, request: Request) -> Iterator[str]:
    """The end of the attempt must come before the deletion, or have been announced, or an operator has cancelled the run."""
    if request.attempt < run.attempt:
        retried = [event for event in evidence.events if event.kind == "retried"][request.attempt - 1 : request.attempt]
        ends, node_lost = [event.at for event in retried], any(": node_lost: " in event.message for event in retried)
    else:
        ends, node_lost = [run.finished_at] if run.finished_at is not None else [], run.reason == "node_lost"
    ended_before = any(end.timestamp() <= request.at + 1 for end in ends)
    announced = request.attempt == run.attempt and run.reason in ANNOUNCED
    # A node that loses the containers of a pod makes no others for it.
    unstarted = all(one.attempt != request.attempt for one in evidence.trainings)
    # A run that succeeds at the same moment keeps its success.
    cancelled = any(
        strike.blow.fault is Fault.CANCELLED and strike.struck is not False and strike.began <= request.at for strike in evidence.strikes
    )
    if not ended_before and not announced and not cancelled and not (node_lost and unstarted):
        yield f"the product deleted the Job of attempt {request.attempt} while it was at work"
