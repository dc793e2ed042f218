"""Counts the faults and disturbances in effect. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from tools.chaos.records import Disturbed, Strike
from tools.chaos.schedule import Target
from tools.chaos.script import Fault

# For a hundred runs.
AT_LEAST, RUNS = 5, 100


def default(runs: int) -> int:
    """The number of times that each kind must take effect."""
    return math.ceil(AT_LEAST * runs / RUNS)


def faults(strikes: Iterable[Strike]) -> Counter[Fault]:
    """The number of strikes of each fault that had a target."""
    return Counter(strike.blow.fault for strike in strikes if strike.struck is True)


def targets(disturbed: Iterable[Disturbed]) -> Counter[Target]:
    """The number of disturbances of each target in effect."""
    return Counter(one.target for one in disturbed if one.in_effect)


def missing_faults(counted: Mapping[Fault, int], at_least: int) -> list[Fault]:
    """Every fault as often as it is missing."""
    return [fault for fault in Fault for _ in range(at_least - counted.get(fault, 0))]


def shortfalls(
    counted_faults: Mapping[Fault, int], counted_targets: Mapping[Target, int], at_least: int, *, wanted: Iterable[Target]
) -> list[str]:
    """The kinds that took effect too seldom, as text. wanted: the targets of this chaos run."""
    counts = [*((fault, counted_faults.get(fault, 0)) for fault in Fault), *((target, counted_targets.get(target, 0)) for target in wanted)]
    return [f"{kind}: in effect {count} times, asked for {at_least}" for kind, count in counts if count < at_least]
