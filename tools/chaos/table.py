"""The tables of a chaos run: faults and ends, times to the decision, disturbances. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tabulate import tabulate

from tools.chaos import check, check_executions, check_times
from tools.chaos.records import Evidence

NONE = "none"


def of(found: Sequence[Evidence]) -> str:
    """One line per fault or pair of faults, one column per end. A fault that came too late does not count."""
    counts = Counter((_faults(evidence), check.end_of(evidence)) for evidence in found)
    ends = sorted({end for _, end in counts})
    faults = sorted({fault for fault, _ in counts}, key=lambda fault: (fault != NONE, fault))
    lines = [[fault, *(counts[fault, end] or "" for end in ends)] for fault in faults]
    return str(tabulate(lines, headers=["faults", *ends]))


def times(found: Sequence[Evidence]) -> str:
    """Seconds from each fault to its decision, and from the end of a row to the end of its last process."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for evidence in found:
        for run in evidence.runs:
            for decision in check_times.decisions(evidence, run):
                seconds[decision.fault].append(decision.seconds)
            seconds["end of the last process after its row"].append(check_executions.orphan_seconds(evidence, run))
    lines = [[name, len(values), f"{median(values):.0f}", f"{max(values):.0f}"] for name, values in sorted(seconds.items())]
    return str(tabulate(lines, headers=["seconds to the decision after", "number", "median", "longest"]))


def counted(numbers: Mapping[Any, int]) -> str:
    """The numbers in one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(numbers.items())) or "none"


def _faults(evidence: Evidence) -> str:
    return " + ".join(strike.blow.fault for strike in evidence.strikes if strike.struck is not False) or NONE
