"""The rule: what is to become of an unfinished run, from what its runner sees and what the ledger says. Pure.

A run ends only on positive evidence that nothing carries it out any more. Not knowing concludes nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from gregory.launch.runner import Observation, Status
from gregory.runs.reasons import Reason
from gregory.runs.states import RunState

# A machine whose answer did not have a run may have answered from a moment before the run was there.
MISSING_GRACE = 60.0
# Who does not see the models leaves a run that worked to those who do: there may be one that is complete and was not reported.
MODELS_NOT_VISIBLE_GRACE = 2 * MISSING_GRACE
# Whoever queued a run hands it over within seconds, or gives a sign of life meanwhile.
HANDOVER_GRACE = 60.0
# Ends that say nothing against the run, from which its machine would have gone on: the same again may well succeed. A run that
# was killed is not among them: a signal that no disruption explains was sent by somebody, or by a kernel out of memory.
RETRYABLE = frozenset({Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.INTERRUPTED})
# Whoever could say why it gave up did not die of these: the run's own word tells more than a machine that saw its exit, or saw one of
# its processes run out of memory.
REPORT_TAKES_PRECEDENCE = frozenset({Reason.ERROR, Reason.NO_REPORT, Reason.LOST, Reason.KILLED, Reason.INTERRUPTED, Reason.OUT_OF_MEMORY})


class Action(StrEnum):
    """NONE: leave the run as it is. SUBMIT it. TERMINATE it on its back end. FINALIZE it, since it has ended."""

    NONE = "none"
    SUBMIT = "submit"
    TERMINATE = "terminate"
    FINALIZE = "finalize"


class RetryPolicy(StrEnum):
    """What follows a death that left rows open: CLOSE them; AGAIN, all of them; WITHOUT the algorithm that died, the others."""

    CLOSE = "close"
    AGAIN = "again"
    WITHOUT = "without"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to become of one unfinished run. `reason` None where its end has none yet; `detail` says why in any case."""

    action: Action
    detail: str
    reason: Reason | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """What is known of a run beside its machine's word. Seconds by the clock of the database, None where it does not run.

    silent, idle, missing: as in `ledger.Standing`. ending, why: the reason and words of an end that was announced.
    durable: as in `Runner`.
    blind: it is missing, was at work, and what it left in its models folder is not to be seen from here.
    """

    state: RunState
    silent: float
    idle: float | None
    missing: float | None
    ending: Reason | None
    why: str
    durable: bool
    models_not_visible: bool
    stale_after: int
    stall_after: int


def decide(observation: Observation, facts: RunSnapshot) -> Decision:
    """What is to become of the run."""
    if facts.state is RunState.PENDING:
        return _judge_pending(observation, facts)
    if observation.status is Status.UNKNOWN:
        return _judge_unseen(observation, facts)
    if observation.status is Status.TERMINATED:
        return _judge_dead(observation, facts)
    if facts.ending is not None:
        return Decision(action=Action.TERMINATE, reason=facts.ending, detail=facts.why)
    if observation.status is Status.PENDING and observation.reason is not None:
        return Decision(action=Action.TERMINATE, reason=observation.reason, detail=observation.detail)
    if observation.status is Status.ALIVE and facts.state is RunState.RUNNING and 0 < facts.stall_after < (facts.idle or 0):
        detail = (
            f"stalled: no progress for {facts.idle:.0f} s, {facts.stall_after} are allowed; "
            f"last sign of life {facts.silent:.0f} s ago; {observation.detail}"
        )
        return Decision(action=Action.TERMINATE, reason=Reason.STALLED, detail=detail)
    return Decision(action=Action.NONE, detail=observation.detail)


def retry_policy(reason: Reason, *, durable: bool, retries: int, max_attempts: int, in_training: int, still_open: int) -> RetryPolicy:
    """What follows a death for this reason. in_training, still_open: how many of the run's algorithms were, and have no end."""
    if reason is Reason.OUT_OF_MEMORY and durable and 0 < in_training < still_open:
        return RetryPolicy.WITHOUT
    if reason in RETRYABLE and retries + 1 < max_attempts:
        return RetryPolicy.AGAIN
    return RetryPolicy.CLOSE


def _judge_pending(observation: Observation, facts: RunSnapshot) -> Decision:
    """Until it is handed over, a run is in the hands of the process that queued it, and that is what was observed."""
    if facts.ending is not None:
        return Decision(action=Action.FINALIZE, reason=facts.ending, detail=facts.why)
    if facts.durable:
        # Handing over twice does no harm there, and waiting for a process that nobody can see does.
        if observation.status is Status.TERMINATED or facts.silent > HANDOVER_GRACE:
            return Decision(action=Action.SUBMIT, detail=f"queued and not handed over: {observation.detail}")
        return Decision(action=Action.NONE, detail=observation.detail)
    if observation.status is Status.UNKNOWN:
        return _judge_unseen(observation, facts)
    if observation.status is Status.TERMINATED:
        detail = f"never started: the command that queued it is gone ({observation.detail})"
        return Decision(action=Action.FINALIZE, reason=Reason.NOT_STARTED, detail=detail)
    return Decision(action=Action.NONE, detail=observation.detail)


def _judge_unseen(observation: Observation, facts: RunSnapshot) -> Decision:
    if facts.durable or facts.silent <= facts.stale_after:
        return Decision(action=Action.NONE, detail=f"{observation.detail}; not known to be dead")
    detail = f"lost: {observation.detail} and has given no sign of life for more than {facts.stale_after} s"
    return Decision(action=Action.FINALIZE, reason=Reason.LOST, detail=detail)


def _judge_dead(observation: Observation, facts: RunSnapshot) -> Decision:
    grace = MODELS_NOT_VISIBLE_GRACE if facts.models_not_visible else MISSING_GRACE
    if observation.missing and (facts.missing is None or facts.missing < grace):
        return Decision(action=Action.NONE, detail=f"{observation.detail}; if it is still so in {grace:.0f} s, it is dead")
    if facts.ending is not None:
        return Decision(action=Action.FINALIZE, reason=facts.ending, detail=facts.why, exit_code=observation.exit_code)
    if observation.reason is not None:
        return Decision(action=Action.FINALIZE, reason=observation.reason, detail=observation.detail, exit_code=observation.exit_code)
    if observation.missing:
        return Decision(action=Action.FINALIZE, reason=Reason.DELETED, detail=observation.detail)
    return Decision(action=Action.FINALIZE, reason=Reason.LOST, detail=f"lost: {observation.detail}", exit_code=observation.exit_code)
