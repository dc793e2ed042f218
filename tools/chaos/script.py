"""Faults of each run, drawn from the seed alone. Pure.

The time on the clock depends on the machine. The faults, the run and the point of the run do not.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ALGORITHMS = ("lgbm_tfidf", "lstm", "pubmed_bert")
BATCH = 8
# Number of the first run that makes up for faults that came too late.
MORE = 10_000
# Runs without a fault in each block.
CALM = 2


class Fault(StrEnum):
    """Faults of one run."""

    POD_DELETED = "pod deleted"
    POD_REMOVED = "pod removed, grace 0"
    EVICTED = "evicted"
    WORKER_KILLED = "worker killed"
    RUN_KILLED = "run killed"
    CONTAINER_KILLED = "container killed"
    SHIM_KILLED = "container lost with its shim"
    JOB_DELETED = "Job deleted"
    CANCELLED = "cancelled"
    SUSPENDED = "suspended, resumed"
    RUN_STOPPED = "run stopped, continued"
    WORKER_STOPPED = "worker stopped, continued"
    CUT_OFF = "pod cut off from the database"


# Before its pod has begun, a run has no process.
BEFORE = (Fault.POD_DELETED, Fault.CANCELLED, Fault.SUSPENDED)
# Faults with a pause after which the run continues. Another fault can strike during the pause.
PAUSING = (Fault.RUN_STOPPED, Fault.WORKER_STOPPED, Fault.CUT_OFF)
# After these a run continues, so another fault can follow.
SURVIVED = (*PAUSING, Fault.SUSPENDED, Fault.POD_DELETED, Fault.POD_REMOVED, Fault.EVICTED, Fault.WORKER_KILLED)
_SECOND_SHARE = 0.4
_CANCEL_SECONDS = 5.0
# Share of pauses of up to LONG_PAUSE seconds.
_LONG_SHARE, LONG_PAUSE = 0.25, 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One fault of one run.

    at: index of the algorithm during whose training the fault comes, -1 before the pod has begun. The second fault of a run comes in
    the pause of the first, or else in the next training.
    delay: seconds after that point. pause: seconds of a suspension, of a stop or of a cut.
    """

    fault: Fault
    at: int
    delay: float
    pause: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One run. seconds: length of each training."""

    number: int
    team: str
    subject: str
    seconds: dict[str, float]
    blows: tuple[Blow, ...]

    @property
    def label(self) -> str:
        return f"{self.team}/{self.subject}"

    @property
    def algorithms(self) -> tuple[str, ...]:
        return tuple(self.seconds)


def draw(seed: int, runs: int) -> list[Script]:
    """The scripts of all runs. The script of a run does not depend on the number of runs."""
    return [_draw(seed, number, f"team-{number // BATCH}", _first(seed, number)) for number in range(runs)]


def make_up(seed: int, round_number: int, missing: Sequence[Fault | None], *, batches: int = 1) -> list[Script]:
    """One more run for each fault that took effect too seldom. Each strikes early. None: a run without a fault."""
    algorithms = _algorithms(seed, f"more {round_number}")
    return [
        Script(
            number=MORE + MORE * round_number + number,
            team=f"more-{batches * round_number + batches * number // len(missing)}",
            subject=f"more-{round_number}-{number}",
            seconds=dict.fromkeys(algorithms, _CANCEL_SECONDS),
            blows=() if fault is None else (Blow(fault=fault, at=0, delay=0.2, pause=2.0),),
        )
        for number, fault in enumerate(missing)
    ]


def _first(seed: int, number: int) -> Fault | None:
    """The first fault of a run. Each block of runs contains every fault once."""
    block: list[Fault | None] = [*Fault, *[None] * CALM]
    random.Random(f"{seed} block {number // len(block)}").shuffle(block)
    return block[number % len(block)]


def _algorithms(seed: int, batch: object) -> list[str]:
    """One command submits a batch, so all its runs have the same algorithms."""
    return random.Random(f"{seed} batch {batch}").sample(ALGORITHMS, 2)


def _draw(seed: int, number: int, team: str, first: Fault | None) -> Script:
    drawn = random.Random(f"{seed} run {number}")
    algorithms = _algorithms(seed, number // BATCH)
    seconds = {algorithm: round(drawn.uniform(1, 3), 1) for algorithm in algorithms}
    if first is Fault.CANCELLED:
        # The command needs some seconds itself.
        seconds = dict.fromkeys(algorithms, _CANCEL_SECONDS)
    blows = []
    if first is not None:
        at = drawn.choice([-1, 0, 1] if first in BEFORE else [0, 1])
        blows.append(_blow(drawn, first, at, seconds[algorithms[at]] if at >= 0 and first is not Fault.CANCELLED else 1.0))
    if first in SURVIVED and drawn.random() < _SECOND_SHARE:
        second = drawn.choice([fault for fault in Fault if fault not in PAUSING])
        blows.append(_blow(drawn, second, 0, 1.0))
    return Script(number=number, team=team, subject=f"subject-{number}", seconds=seconds, blows=tuple(blows))


def _blow(drawn: random.Random, fault: Fault, at: int, seconds: float) -> Blow:
    long = fault in PAUSING and drawn.random() < _LONG_SHARE
    # Some come after the end of the training: faults between two steps find the most errors.
    return Blow(
        fault=fault,
        at=at,
        delay=round(drawn.uniform(0, 1.05) * seconds, 2),
        pause=round(drawn.uniform(10, LONG_PAUSE) if long else drawn.uniform(0.5, 4), 1),
    )
