"""The table of faults and ends."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from tools.chaos import check
from tools.chaos.evidence import Evidence
from tools.chaos.script import Fault


def of(found: Sequence[Evidence]) -> str:
    """One line per fault, one column per end. A fault that came too late counts as `none`."""
    counts = Counter((_fault(evidence), check.end_of(evidence)) for evidence in found)
    ends = sorted({end for _, end in counts})
    lines = [[fault, *(counts[fault, end] or "" for end in ends)] for fault in Fault if any(one == fault for one, _ in counts)]
    return str(tabulate(lines, headers=["fault", *ends]))


def counted(numbers: Mapping[str, int]) -> str:
    """The numbers in one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(numbers.items())) or "none"


def _fault(evidence: Evidence) -> Fault:
    return Fault.NONE if evidence.strike.struck is False else evidence.strike.script.fault
