"""The time for which a reconciler could not observe runs, over several passes."""

from collections.abc import Sequence
from datetime import datetime

from gregory.output import one_line
from gregory.reconcile.results import ReconcileResult


class UnreachableTracker:
    """Reports runs without observation after the 1st, 2nd, 4th, 8th ... pass, and the pass that observes all of them again."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._passes = 0

    def after(self, changes: Sequence[ReconcileResult], *, now: datetime) -> str:
        """The message after this pass; empty if there is none."""
        unseen = [change for change in changes if change.is_unseen]
        if not unseen:
            since, passes = self._since, self._passes
            self._since, self._passes = None, 0
            return f"every run is observed again, after {_passes(passes)} since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
        self._since, self._passes = self._since or now, self._passes + 1
        # True unless the number of passes is a power of two. An outage of hours gives few messages.
        if self._passes & (self._passes - 1):
            return ""
        of = f"{len(unseen)} of {len(changes)} runs" if len(changes) > 1 else f"run {unseen[0].run.run_id}"
        return f"unknown since {self._since:%Y-%m-%d %H:%M:%S} UTC, for {_passes(self._passes)}: {of}: {one_line(unseen[0].detail)}"


def _passes(number: int) -> str:
    return "1 pass" if number == 1 else f"{number} passes"
