"""Faults of each run and disturbances of all runs, drawn from the seed alone. Pure.

The time on the clock depends on the machine. The fault, the run and the point of the run do not.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

ALGORITHMS = ("lgbm_tfidf", "lstm", "pubmed_bert")
BATCH = 8


class Fault(StrEnum):
    """Faults of one run."""

    NONE = "none"
    POD_DELETED = "pod deleted"
    POD_REMOVED = "pod removed, grace 0"
    EVICTED = "evicted"
    WORKER_KILLED = "worker killed"
    RUN_KILLED = "run killed"
    JOB_DELETED = "Job deleted"
    CANCELLED = "cancelled"
    SUSPENDED = "suspended, resumed"


class Target(StrEnum):
    """Targets of a disturbance: killed, then started again."""

    RECONCILER = "a reconciler"
    RECONCILERS = "every reconciler"
    API_SERVER = "the API server"
    DATABASE = "the database"
    SUBMITTER = "the submitter"


# Before its pod has begun, a run has no process to kill.
BEFORE = (Fault.POD_DELETED, Fault.CANCELLED, Fault.SUSPENDED)
_CALM = 2
# The cluster's own clients wait longer after each failure of the API server. More of these would stop all progress.
_WEIGHTS = {Target.RECONCILER: 3, Target.RECONCILERS: 2, Target.API_SERVER: 1, Target.DATABASE: 3, Target.SUBMITTER: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One run.

    at: index of the algorithm during whose training the fault comes, -1 before the pod has begun.
    delay: seconds after that point. pause: seconds of a suspension.
    """

    number: int
    team: str
    subject: str
    seconds: dict[str, float]
    fault: Fault
    at: int
    delay: float
    pause: float

    @property
    def label(self) -> str:
        return f"{self.team}/{self.subject}"

    @property
    def algorithms(self) -> tuple[str, ...]:
        return tuple(self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """after: seconds since the last one. away: seconds until the restart. which: index among several targets."""

    after: float
    target: Target
    away: float
    which: int


def draw(seed: int, runs: int) -> list[Script]:
    """The scripts of all runs. The script of a run does not depend on the number of runs."""
    return [_draw(random.Random(f"{seed} run {number}"), number, _algorithms(seed, number // BATCH)) for number in range(runs)]


def disturbances(seed: int) -> Iterator[Disturbance]:
    """An endless sequence."""
    drawn = random.Random(f"{seed} disturbances")
    while True:
        (target,) = drawn.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))
        yield Disturbance(after=drawn.uniform(2, 10), target=target, away=drawn.uniform(0.2, 5), which=drawn.randrange(1_000))


def _algorithms(seed: int, batch: int) -> list[str]:
    """One command submits a batch, so all its runs have the same algorithms."""
    return random.Random(f"{seed} batch {batch}").sample(ALGORITHMS, 2)


def _draw(drawn: random.Random, number: int, algorithms: list[str]) -> Script:
    fault = drawn.choice([*[Fault.NONE] * _CALM, *(fault for fault in Fault if fault is not Fault.NONE)])
    seconds = {algorithm: round(drawn.uniform(0.6, 3), 1) for algorithm in ALGORITHMS}
    at = drawn.choice([-1, 0, 1] if fault in BEFORE else [0, 1])
    return Script(
        number=number,
        team=f"team-{number // BATCH}",
        subject=f"subject-{number}",
        seconds={algorithm: seconds[algorithm] for algorithm in algorithms},
        fault=fault,
        at=at,
        # Also after the end of the training: faults between two steps find the most errors.
        delay=drawn.uniform(0, 1.1) * (seconds[algorithms[at]] if at >= 0 else 1),
        pause=drawn.uniform(0.5, 4),
    )
