"""What is to happen, drawn from the seed alone: each run's own fate, and what befalls all of them. Pure.

When something happens by the clock depends on the machine; what, to which run and at which point of it, does not.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

ALGORITHMS = ("lgbm_tfidf", "lstm", "pubmed_bert")
BATCH = 8


class Fault(StrEnum):
    """What is done to one run."""

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
    """Who is ended for all runs at once, and started again."""

    RECONCILER = "a reconciler"
    RECONCILERS = "every reconciler"
    API_SERVER = "the API server"
    DATABASE = "the database"
    SUBMITTER = "whoever submits"


# A run that was not begun has neither worker nor supervisor.
BEFORE = (Fault.POD_DELETED, Fault.CANCELLED, Fault.SUSPENDED)
_CALM = 2
# After each of its absences the cluster's own clients keep away from an API server for ever longer, and nothing gets on.
_WEIGHTS = {Target.RECONCILER: 3, Target.RECONCILERS: 2, Target.API_SERVER: 1, Target.DATABASE: 3, Target.SUBMITTER: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One run. at: the place of the algorithm in whose training it is struck, -1 before its pod has begun; delay: seconds after that."""

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
    """after: seconds since the one before; away: seconds until it is started again. which: of several."""

    after: float
    target: Target
    away: float
    which: int


def draw(seed: int, runs: int) -> list[Script]:
    """Every run's script. That of a run does not depend on how many there are."""
    return [_draw(random.Random(f"{seed} run {number}"), number, _algorithms(seed, number // BATCH)) for number in range(runs)]


def disturbances(seed: int) -> Iterator[Disturbance]:
    """For ever."""
    drawn = random.Random(f"{seed} disturbances")
    while True:
        (target,) = drawn.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))
        yield Disturbance(after=drawn.uniform(2, 10), target=target, away=drawn.uniform(0.2, 5), which=drawn.randrange(1_000))


def _algorithms(seed: int, batch: int) -> list[str]:
    """One command submits a batch, so what is trained is the same for all of it."""
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
        # Beyond the training's end, too: what strikes between two steps is the most interesting.
        delay=drawn.uniform(0, 1.1) * (seconds[algorithms[at]] if at >= 0 else 1),
        pause=drawn.uniform(0.5, 4),
    )
