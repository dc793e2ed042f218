"""Checks a run: the evidence must fit the fault. Pure."""

from collections import Counter
from collections.abc import Iterator

from tools.chaos.evidence import Evidence
from tools.chaos.script import Fault

# Permitted ends after each fault: state, reason, attempt.
AGAIN = ("succeeded", "", 2)
AS_IF_NOTHING = ("succeeded", "", 1)
ALLOWED = {
    Fault.NONE: {AS_IF_NOTHING},
    Fault.POD_DELETED: {AGAIN},
    Fault.POD_REMOVED: {AGAIN},
    Fault.EVICTED: {AGAIN},
    Fault.WORKER_KILLED: {("failed", "killed", 1)},
    Fault.RUN_KILLED: {("failed", "killed", 1)},
    Fault.JOB_DELETED: {("failed", "deleted", 1)},
    Fault.CANCELLED: {("cancelled", "cancelled", 1)},
    Fault.SUSPENDED: {AS_IF_NOTHING},
}


def violations(evidence: Evidence) -> list[str]:
    """The violations, as text. Empty if there are none."""
    if len(evidence.runs) != 1:
        return [f"it has {len(evidence.runs)} runs"]
    return [*_ends(evidence), *_rows(evidence), *_executions(evidence), *_jobs(evidence)]


def end_of(evidence: Evidence) -> str:
    """State, reason and attempt, for the table."""
    if len(evidence.runs) != 1:
        return "no run" if not evidence.runs else "several runs"
    (run,) = evidence.runs
    again = " at attempt 2" if run.attempt == 2 else f" at attempt {run.attempt}" if run.attempt > 2 else ""
    return f"{run.state}{f' ({run.reason})' if run.reason else ''}{again}"


def _ends(evidence: Evidence) -> Iterator[str]:
    (run,) = evidence.runs
    if not run.is_final:
        yield f"open at the end: {run.state}"
        return
    strike = evidence.strike
    allowed = set(ALLOWED[strike.script.fault]) if strike.struck is not False else {AS_IF_NOTHING}
    all_trained = {training.algorithm for training in evidence.trainings if training.attempt == 1 and training.done}
    if strike.struck is None or all_trained == set(strike.script.algorithms):
        # A fault in the last moment of a run can come too late.
        allowed.add(AS_IF_NOTHING)
    if (run.state, run.reason, run.attempt) not in allowed:
        yield f"wrong end: {end_of(evidence)}, fault: {strike.script.fault}, struck: {strike.struck}: {run.detail[:400]}"


def _rows(evidence: Evidence) -> Iterator[str]:
    (run,) = evidence.runs
    if sorted(row.algorithm for row in evidence.rows) != sorted(evidence.strike.script.algorithms):
        yield f"rows of {sorted(row.algorithm for row in evidence.rows)}"
    for row in evidence.rows:
        if row.success is None:
            yield f"row of {row.algorithm} is open at the end"
        elif row.success != (row.id in evidence.complete):
            there = "is" if row.id in evidence.complete else "is not"
            yield f"row of {row.algorithm} has success {row.success}, and its complete model {there} there"
        elif not row.success and row.reason != run.reason:
            yield f"row of {row.algorithm} failed for {row.reason or 'no reason'}, its run for {run.reason or 'no reason'}"
    if run.is_final and (run.state == "succeeded") != all(row.success for row in evidence.rows):
        yield f"the run {run.state}, its rows: {[row.success for row in evidence.rows]}"


def _executions(evidence: Evidence) -> Iterator[str]:
    if evidence.overlaps:
        yield "two workers trained at the same time"
    finished: dict[str, int] = {}
    for training in sorted(evidence.trainings, key=lambda training: training.attempt):
        if training.algorithm in finished:
            yield f"{training.algorithm} was trained in attempt {training.attempt} after attempt {finished[training.algorithm]}"
        if training.done:
            finished[training.algorithm] = training.attempt
        if training.begun > 1 and evidence.strike.script.fault is not Fault.SUSPENDED:
            yield f"{training.algorithm} began {training.begun} times in attempt {training.attempt}"


def _jobs(evidence: Evidence) -> Iterator[str]:
    (run,) = evidence.runs
    for job in evidence.jobs:
        if not job.finished:
            yield f"Job {job.name} has not finished"
        if job.attempt > run.attempt:
            yield f"Job {job.name} belongs to an attempt that was not opened"
    for attempt, count in Counter(job.attempt for job in evidence.jobs).items():
        if count > 1:
            yield f"{count} Jobs of attempt {attempt}"
