"""Checks the processes of a run: never two at once, no training twice, none after the end. Pure."""

import math
from collections.abc import Iterator

from tools.chaos import effects
from tools.chaos.records import Evidence, Run
from tools.chaos.script import Fault


def of(evidence: Evidence, run: Run) -> Iterator[str]:
    """Violations by processes."""
    permitted = _superseded_seconds(evidence)
    if evidence.overlaps and not permitted:
        yield "two stages worked at the same time"
    for together in evidence.together:
        if not permitted or together.seconds > permitted:
            yield f"two processes of the kind {together.kind} for {together.seconds:.1f} s, permitted: {permitted:.0f} s"
    finished: dict[str, int] = {}
    for training in sorted(evidence.trainings, key=lambda training: training.attempt):
        if training.algorithm in finished and not permitted:
            yield f"{training.algorithm} was trained in attempt {training.attempt} after attempt {finished[training.algorithm]}"
        if training.done:
            finished[training.algorithm] = training.attempt
        suspended = sum(one.attempt == training.attempt for one in evidence.suspensions)
        if training.begun > 1 + suspended and not _had(evidence, Fault.SUSPENDED):
            yield f"{training.algorithm} began {training.begun} times in attempt {training.attempt}"
    if evidence.alive_at_end and run.is_final:
        yield f"processes of a run that {run.state} live at the end: {', '.join(evidence.alive_at_end)}"
    if (seconds := orphan_seconds(evidence, run)) > (longest := _orphan_limit(evidence, run)):
        yield f"a process lived {seconds:.0f} s after the end of its row, permitted: {longest:.0f} s"


def orphan_seconds(evidence: Evidence, run: Run) -> float:
    """Seconds that a process of the run lived after its row had ended."""
    if evidence.last_alive is None or run.finished_at is None or not run.is_final:
        return 0.0
    return max(0.0, evidence.last_alive - run.finished_at.timestamp())


def _orphan_limit(evidence: Evidence, run: Run) -> float:
    after = run.finished_at.timestamp() if run.finished_at else 0.0
    pauses = sum(strike.blow.pause for strike in evidence.strikes)
    # Kueue can suspend a Job in the second in which its run ends. It releases the Job later, and the next pod finds nothing to do.
    released = max((one.ended - after for one in evidence.suspensions if after < one.ended < math.inf), default=0.0)
    disturbed = sum(one.ended - one.began for one in evidence.disturbed if one.ended > after)
    return effects.SUPERSEDED_SECONDS + pauses + released + disturbed


def _superseded_seconds(evidence: Evidence) -> float:
    """The time for which a superseded attempt may work beside its successor. 0: never.

    Only a node that the cluster took for lost, or a pod that an administrator removed from the API alone, leaves a process behind.
    """
    lost = effects.node_losses(evidence.disturbed)
    if not lost and not _had(evidence, Fault.POD_REMOVED):
        return 0.0
    return effects.SUPERSEDED_SECONDS + sum(one.ended - one.began for one in evidence.disturbed)


def _had(evidence: Evidence, fault: Fault) -> bool:
    return any(strike.blow.fault is fault and strike.struck is not False for strike in evidence.strikes)
