"""Faults x verdicts, and what is wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from tools.chaos import judge
from tools.chaos.evidence import Evidence
from tools.chaos.script import Fault


def of(found: Sequence[Evidence]) -> str:
    """A line per fault, a column per verdict; what was drawn and came too late counts as `none`."""
    counted = Counter((_fault(evidence), judge.verdict(evidence)) for evidence in found)
    verdicts = sorted({verdict for _, verdict in counted})
    lines = [
        [fault, *(counted[fault, verdict] or "" for verdict in verdicts)] for fault in Fault if any(one == fault for one, _ in counted)
    ]
    return str(tabulate(lines, headers=["fault", *verdicts]))


def counted(what: Mapping[str, int]) -> str:
    """In one line."""
    return ", ".join(f"{name} {count}" for name, count in sorted(what.items())) or "none"


def _fault(evidence: Evidence) -> Fault:
    return Fault.NONE if evidence.strike.struck is False else evidence.strike.script.fault
