"""The permitted ends of a run after its faults, and the longest time until each end. Pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tools.chaos.records import Disturbed, Strike, Suspension
from tools.chaos.schedule import Target
from tools.chaos.script import Fault

MAX_ATTEMPTS = 3


class Effect(Enum):
    """NOTHING: as if it had not come. AGAIN: another attempt. ENDS the run. FAILS: the algorithm in training fails, the run continues."""

    NOTHING = auto()
    AGAIN = auto()
    ENDS = auto()
    FAILS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The documented result of a fault.

    reason: of the rows. codes: exit codes of the run, None without one. seconds: longest time to the decision without disturbances.
    """

    effect: Effect
    reason: str = ""
    state: str = "failed"
    codes: frozenset[int | None] = frozenset()
    seconds: float = 0.0


# The grace period of a pod is 120 s, and a reconciler looks every 15 s. A run that obeys SIGTERM ends in a fraction of that.
_GRACE, _PASSES = 120.0, 45.0
_REMOVED: frozenset[int | None] = frozenset({None, 128, 137, 143, 255})
RULES = {
    Fault.POD_DELETED: Rule(effect=Effect.AGAIN, reason="interrupted", codes=_REMOVED, seconds=_GRACE + _PASSES),
    Fault.POD_REMOVED: Rule(effect=Effect.AGAIN, reason="interrupted", codes=_REMOVED, seconds=_GRACE + _PASSES),
    Fault.EVICTED: Rule(effect=Effect.AGAIN, reason="evicted", codes=_REMOVED, seconds=_GRACE + _PASSES),
    # The runtime writes 255 and the reason Error. A run could exit with that code itself.
    Fault.SHIM_KILLED: Rule(effect=Effect.ENDS, reason="lost", codes=_REMOVED, seconds=_PASSES),
    Fault.WORKER_KILLED: Rule(effect=Effect.FAILS, reason="killed", codes=frozenset({1}), seconds=30.0),
    Fault.RUN_KILLED: Rule(effect=Effect.ENDS, reason="killed", codes=frozenset({137}), seconds=_PASSES),
    Fault.CONTAINER_KILLED: Rule(effect=Effect.ENDS, reason="killed", codes=frozenset({137}), seconds=_PASSES),
    # A missing Job is believed after two minutes.
    Fault.JOB_DELETED: Rule(effect=Effect.ENDS, reason="deleted", codes=_REMOVED, seconds=_GRACE + 2 * _PASSES),
    Fault.CANCELLED: Rule(
        effect=Effect.ENDS, reason="cancelled", state="cancelled", codes=_REMOVED | frozenset({1}), seconds=_GRACE + _PASSES
    ),
    Fault.SUSPENDED: Rule(effect=Effect.NOTHING),
    Fault.RUN_STOPPED: Rule(effect=Effect.NOTHING),
    Fault.WORKER_STOPPED: Rule(effect=Effect.NOTHING),
    Fault.CUT_OFF: Rule(effect=Effect.NOTHING),
}
# Reasons with which the last permitted attempt of a removed run fails.
REMOVALS = frozenset({"interrupted", "evicted", "node_lost", "deleted"})
# Disturbances after which the cluster may have taken every pod away.
NODE_LOSSES = (Target.NODE_DELETED, Target.NODE_RESTARTED, Target.KUBELET, Target.RUNTIME)
# More attempts than the limit, which only publish a finished model.
PUBLISHING_ATTEMPTS = 3
# The older release does not know a node without power: it finalizes the run for these reasons, and does not retry it.
OLDER_REASONS = ("lost", "refused", "not_started")
# Kueue cannot hide these: they end the run and not its pod alone.
OF_THE_JOB = (Fault.JOB_DELETED, Fault.CANCELLED)
# A pod ends within this time after its suspension.
STOPPING_SECONDS = 15.0
# A process of a superseded attempt stops at its next heartbeat, 15 s, and gives the database 20 s to answer.
SUPERSEDED_SECONDS = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a run."""

    state: str
    reason: str
    attempt: int


@dataclass(frozen=True, slots=True)
class _Alive:
    """A run that goes on: its attempt, and the reasons of its failed algorithms."""

    attempt: int
    failed: frozenset[str]


def is_optional(strike: Strike) -> bool:
    """Whether the run can end as if the fault had not come: a lost response, or a run in its last step."""
    return strike.struck is None or strike.all_done


def permitted(
    strikes: Sequence[Strike],
    disturbed: Iterable[Disturbed],
    *,
    done: Sequence[int] = (),
    algorithms: int = 2,
    suspensions: Sequence[Suspension] = (),
) -> set[End]:
    """Every permitted end.

    disturbed: the disturbances during the life of the run. done: for each trained algorithm, the attempt. suspensions: by Kueue. After
    one, the same attempt goes on.
    """
    disturbed = list(disturbed)
    alive, ended = {_Alive(1, frozenset())}, set[End]()
    lost = node_losses(disturbed)
    for strike in strikes:
        if strike.struck is False:
            continue
        rule = RULES[strike.blow.fault]
        before = alive
        alive = set()
        for one in before:
            after = _after(one, rule)
            if isinstance(after, _Alive):
                alive.add(after)
            else:
                ended |= after
        if is_optional(strike) or any(_hides(one, strike) for one in lost) or any(holds(one, strike) for one in suspensions):
            alive |= before
    for _ in lost:
        # The cluster may have kept the pod, or the run may have ended before.
        again = Rule(effect=Effect.AGAIN, reason="node_lost")
        for one in list(alive):
            after = _after(one, again)
            if isinstance(after, _Alive):
                alive.add(after)
            else:
                ended |= after
        ended |= {End(state=end.state, reason=end.reason, attempt=end.attempt + 1) for end in ended if end.attempt < MAX_ATTEMPTS}
    ended |= set(_after_publishing(ended, done, algorithms))
    ended |= {_own_end(one) for one in alive}
    if lost and any(one.target is Target.OLDER_RELEASE for one in disturbed):
        ended |= {End(state="failed", reason=reason, attempt=attempt) for reason in OLDER_REASONS for attempt in range(1, MAX_ATTEMPTS + 1)}
    return ended


def node_losses(disturbed: Iterable[Disturbed]) -> list[Disturbed]:
    """The disturbances after which the cluster may have taken the pod of the run away."""
    return [one for one in disturbed if one.target in NODE_LOSSES]


def _after_publishing(ended: Iterable[End], done: Sequence[int], algorithms: int) -> Iterator[End]:
    """A reconciler without the models leaves a finished model to another attempt, for every reason."""
    for end in ended:
        trained = sum(attempt <= end.attempt for attempt in done)
        for attempt in range(end.attempt + 1, end.attempt + PUBLISHING_ATTEMPTS + 1):
            if trained:
                yield End(state="failed", reason=end.reason, attempt=attempt)
            if trained >= algorithms:
                yield End(state="succeeded", reason="", attempt=attempt)


def _hides(lost: Disturbed, strike: Strike) -> bool:
    """Whether the node was lost before a reconciler could see the fault. Then only the loss of the node is known."""
    return lost.began <= strike.ended + _PASSES and lost.ended >= strike.began


def holds(suspension: Suspension, strike: Strike) -> bool:
    """Whether Kueue stopped the pod before a reconciler could see the fault. The attempt goes on then, if its Job still exists."""
    if strike.blow.fault in OF_THE_JOB:
        return False
    return suspension.began <= strike.ended + _PASSES and suspension.ended + STOPPING_SECONDS + strike.blow.pause >= strike.began


def expected(strikes: Iterable[Strike]) -> list[Rule]:
    """The rules of the faults that struck, or may have struck."""
    return [RULES[strike.blow.fault] for strike in strikes if strike.struck is not False]


def decision_seconds(strike: Strike, disturbed: Iterable[Disturbed], until: float, suspensions: Iterable[Suspension] = ()) -> float:
    """The longest time from a fault to its decision. A disturbance meanwhile adds its own time and that of the clients' pauses."""
    if any(holds(one, strike) for one in suspensions):
        return math.inf
    meanwhile = [one for one in disturbed if one.ended > strike.began and one.began < until]
    return RULES[strike.blow.fault].seconds + strike.blow.pause + sum(one.ended - one.began + 30 for one in meanwhile)


def _after(one: _Alive, rule: Rule) -> _Alive | set[End]:
    match rule.effect:
        case Effect.NOTHING:
            return one
        case Effect.FAILS:
            return _Alive(one.attempt, one.failed | {rule.reason})
        case Effect.AGAIN if one.attempt < MAX_ATTEMPTS:
            return _Alive(one.attempt + 1, one.failed)
        case Effect.AGAIN:
            return {
                End(state="failed", reason=reason, attempt=one.attempt)
                for reason in {rule.reason, *REMOVALS, _shared(one.failed | {rule.reason})}
            }
        case Effect.ENDS:
            reasons = {rule.reason, _shared(one.failed | {rule.reason})}
            return {End(state=rule.state, reason=reason, attempt=one.attempt) for reason in reasons}


def _own_end(one: _Alive) -> End:
    if not one.failed:
        return End(state="succeeded", reason="", attempt=one.attempt)
    return End(state="failed", reason=_shared(one.failed), attempt=one.attempt)


def _shared(reasons: frozenset[str]) -> str:
    """The reason of a run with these failed algorithms."""
    return next(iter(reasons)) if len(reasons) == 1 else "error"
