"""Disturbances of all runs, drawn from the seed alone. Pure.

Disturbances of one lane follow each other. The lanes work at the same time, so several parts of the installation can be disturbed at
once. Each lane has one long absence.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Target(StrEnum):
    """Disturbed parts, and the kind of disturbance."""

    RECONCILER = "a reconciler killed"
    RECONCILERS = "every reconciler killed"
    RECONCILER_STOPPED = "a reconciler stopped with SIGSTOP"
    RECONCILER_NO_DATABASE = "a reconciler cut off from the database"
    RECONCILER_NO_API = "a reconciler cut off from the API server"
    VOLUME_BROKEN = "models volume with errors"
    VOLUME_SILENT = "models volume without an answer"
    OLDER_RELEASE = "a reconciler of an older release"
    DATABASE = "the database killed"
    DATABASE_STOPPED = "the database stopped with SIGSTOP"
    DATABASE_LOCKED = "rows of the database locked"
    DATABASE_READ_ONLY = "the database read-only"
    API_SERVER = "the API server killed"
    API_SERVER_STOPPED = "the API server stopped with SIGSTOP"
    WEBHOOK_LATE = "a webhook that answers late"
    WEBHOOK_FAILS = "a webhook that fails"
    WEBHOOK_SILENT = "a webhook that never answers"
    KUBELET = "the kubelet killed"
    NODE_DELETED = "the node object deleted"
    NODE_RESTARTED = "the node without power"
    RUNTIME = "containerd killed"
    SUBMITTER = "the submitter killed"
    SUBMITTER_NO_API = "the submitter cut off from the API server"
    KUEUE_RESTARTED = "Kueue's manager restarted"
    KUEUE_AWAY = "Kueue's manager and webhooks away"
    QUEUE_DRAINED = "Kueue's queue held and drained"
    WORKLOAD_DELETED = "the Workload of a run at work deleted"
    PREEMPTED = "a run at work preempted by Kueue"


LANES: dict[str, tuple[Target, ...]] = {
    "reconcilers": (
        Target.RECONCILER,
        Target.RECONCILERS,
        Target.RECONCILER_STOPPED,
        Target.RECONCILER_NO_DATABASE,
        Target.RECONCILER_NO_API,
        Target.VOLUME_BROKEN,
        Target.VOLUME_SILENT,
        Target.OLDER_RELEASE,
    ),
    "database": (Target.DATABASE, Target.DATABASE_STOPPED, Target.DATABASE_LOCKED, Target.DATABASE_READ_ONLY),
    "API server": (
        Target.API_SERVER,
        Target.API_SERVER_STOPPED,
        Target.WEBHOOK_LATE,
        Target.WEBHOOK_FAILS,
        Target.WEBHOOK_SILENT,
    ),
    "node": (Target.KUBELET, Target.NODE_DELETED, Target.NODE_RESTARTED, Target.RUNTIME),
    "submitter": (Target.SUBMITTER, Target.SUBMITTER_NO_API),
    "Kueue": (Target.KUEUE_RESTARTED, Target.KUEUE_AWAY, Target.QUEUE_DRAINED, Target.WORKLOAD_DELETED),
}
# These disturb a submission, so they must be there before its runs.
BEFORE_RUNS = (*LANES["submitter"], Target.WEBHOOK_LATE, Target.WEBHOOK_FAILS, Target.WEBHOOK_SILENT)
# The priorities of the runs cause this one, and no lane.
BY_PRIORITY = Target.PREEMPTED
# The absence that becomes long, in each lane, and its longest time. Runs give up a database after five minutes, and the cluster removes the
# pods of a silent node after five minutes.
LONG: dict[str, tuple[Target, float]] = {
    "reconcilers": (Target.RECONCILER, 300.0),
    "database": (Target.DATABASE, 240.0),
    "API server": (Target.API_SERVER, 300.0),
    "node": (Target.KUBELET, 270.0),
}
# Lanes whose long absence stops all runs. One of them, drawn from the seed, is really long.
BLOCKING = ("database", "API server", "node")
SHORTEST_LONG = 30.0
# Pods of a node object that is gone are removed after 40 s.
NODE_GONE_SECONDS = 50.0
# Seconds between two disturbances of a lane. A lost node costs every run at work an attempt.
_AFTER = {
    "reconcilers": (1.0, 6.0),
    "database": (4.0, 15.0),
    "API server": (4.0, 15.0),
    "node": (15.0, 45.0),
    "submitter": (5.0, 20.0),
    "Kueue": (15.0, 45.0),
}
# Those that took effect too seldom follow each other after at most so many seconds. Their batches are short.
MAKE_UP_SECONDS = 15.0
# These take Kueue away too, and no run starts until its webhooks answer again: up to a minute later.
_WITH_KUEUE, _RARER = ("API server", "node"), 3
_AWAY = {
    Target.OLDER_RELEASE: (15.0, 30.0),
    Target.RECONCILER_STOPPED: (2.0, 25.0),
    Target.RECONCILER_NO_DATABASE: (5.0, 25.0),
    Target.RECONCILER_NO_API: (5.0, 25.0),
    Target.DATABASE_READ_ONLY: (1.0, 12.0),
    Target.VOLUME_SILENT: (3.0, 15.0),
    Target.VOLUME_BROKEN: (3.0, 15.0),
    # The command works for two to ten seconds, by the speed of the machine.
    Target.SUBMITTER: (0.5, 4.0),
    Target.KUEUE_AWAY: (3.0, 25.0),
    Target.QUEUE_DRAINED: (1.0, 10.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """after: seconds since the last one of the lane. away: seconds until the restart. which: index among several targets."""

    after: float
    target: Target
    away: float
    which: int


def lanes(*, kueue: bool) -> list[str]:
    """The lanes of a chaos run with or without Kueue."""
    return [lane for lane in LANES if kueue or lane != "Kueue"]


def targets(*, kueue: bool) -> list[Target]:
    """The targets that must be in effect."""
    return [target for lane in lanes(kueue=kueue) for target in LANES[lane]] + ([BY_PRIORITY] if kueue else [])


def longest_absence(runs: int) -> float:
    """Seconds of the longest absence that fits to the number of runs: five minutes for a hundred."""
    return min(300.0, 3.0 * runs)


def disturbances(seed: int, lane: str, *, longest: float = 300.0, kueue: bool = False) -> Iterator[Disturbance]:
    """An endless sequence for one lane. Each deck has every target of the lane once. longest: limit of an absence, in seconds."""
    rarer = _RARER if kueue and lane in _WITH_KUEUE else 1
    drawn = random.Random(f"{seed} {lane}")
    long = _long(seed, lane)
    while True:
        deck = list(LANES[lane])
        drawn.shuffle(deck)
        for target in deck:
            away = round(drawn.uniform(*_AWAY.get(target, (0.5, 6.0))), 1)
            if long is not None and target is LONG[lane][0]:
                away, long = min(long, longest), None
            if target is Target.NODE_DELETED and drawn.random() < 0.3:
                away = min(NODE_GONE_SECONDS, longest)
            yield Disturbance(after=round(rarer * drawn.uniform(*_AFTER[lane]), 1), target=target, away=away, which=drawn.randrange(1_000))


def _long(seed: int, lane: str) -> float | None:
    """Seconds of the long absence of the lane."""
    if lane not in LONG:
        return None
    drawn = random.Random(f"{seed} long {lane}")
    longest = LONG[lane][1]
    if lane in BLOCKING and random.Random(f"{seed} long").choice(BLOCKING) != lane:
        return round(drawn.uniform(SHORTEST_LONG, 2 * SHORTEST_LONG), 1)
    return round(drawn.uniform(longest / 2, longest), 1)
