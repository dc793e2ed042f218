"""Checks the times of a run: their order, and the time from each fault to its decision. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from tools.chaos import effects
from tools.chaos.effects import Effect
from tools.chaos.records import Evidence, Run, Strike
from tools.chaos.script import Fault

# Rows and run are closed by several statements of one transaction, each with its own time.
TOLERANCE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Seconds from a fault to the row, event or end that follows from it. longest: the permitted time."""

    fault: Fault
    seconds: float
    longest: float


def of(evidence: Evidence, run: Run) -> Iterator[str]:
    """Violations of order and of time."""
    steps = [("queued", run.queued_at), ("submitted", run.submitted_at), ("started", run.started_at), ("finished", run.finished_at)]
    known = [(name, at) for name, at in steps if at is not None]
    for (first, earlier), (second, later) in pairwise(known):
        if later < earlier:
            yield f"{second} at {later}, before {first} at {earlier}"
    for name, at in steps:
        if at is None and (name == "queued" or (name == "finished" and run.is_final) or (name == "started" and run.state == "succeeded")):
            yield f"a run that {run.state} has no time {name}"
    for row in evidence.rows:
        if row.success is None:
            continue
        if row.finished is None or row.started is None:
            yield f"row of {row.algorithm} ended without a time"
        elif row.finished < row.started:
            yield f"row of {row.algorithm} finished at {row.finished}, before its start at {row.started}"
        elif run.finished_at is not None and row.finished > run.finished_at + TOLERANCE:
            yield f"row of {row.algorithm} finished at {row.finished}, after its run at {run.finished_at}"
    for decision in decisions(evidence, run):
        if decision.seconds > decision.longest:
            yield f"{decision.seconds:.0f} s from {decision.fault} to its decision, permitted: {decision.longest:.0f} s"


def decisions(evidence: Evidence, run: Run) -> Iterator[Decision]:
    """The decision of every fault that needs one. A fault in the last step of a run needs none."""
    for strike in evidence.strikes:
        if strike.struck is False or effects.is_optional(strike):
            continue
        at = _decision(strike, evidence, run)
        if at is not None:
            seconds = max(0.0, at.timestamp() - strike.began)
            longest = effects.decision_seconds(strike, evidence.disturbed, at.timestamp(), evidence.suspensions)
            yield Decision(fault=strike.blow.fault, seconds=seconds, longest=longest)


def _decision(strike: Strike, evidence: Evidence, run: Run) -> datetime | None:
    match effects.RULES[strike.blow.fault].effect:
        case Effect.NOTHING:
            return None
        case Effect.FAILS:
            times = [row.finished for row in evidence.rows if row.success is False and row.finished]
        case Effect.AGAIN:
            times = [event.at for event in evidence.events if event.kind == "retried"]
        case Effect.ENDS:
            times = []
    return min((at for at in times if at.timestamp() >= strike.began - 1), default=run.finished_at)
