"""For how long a reconciler has not been able to see runs: over passes, since each pass alone says nothing of that."""

from collections.abc import Sequence
from datetime import datetime

from gregory.reconcile.results import ReconcileResult


class UnreachableTracker:
    """Says it when runs go out of sight, at the second pass, the fourth, the eighth ..., and when all are seen again."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._passes = 0

    def after(self, changes: Sequence[ReconcileResult], *, now: datetime) -> str:
        """What is worth a line after this pass; empty where nothing is."""
        unseen = [change for change in changes if change.is_unseen]
        if not unseen:
            since, passes = self._since, self._passes
            self._since, self._passes = None, 0
            return f"every run is seen again, after {_passes(passes)} since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
        self._since, self._passes = self._since or now, self._passes + 1
        # Often at first, and no flood when it takes hours.
        if self._passes & (self._passes - 1):
            return ""
        of = f"{len(unseen)} of {len(changes)} runs" if len(changes) > 1 else f"run {unseen[0].run.run_id}"
        return f"unknown since {self._since:%Y-%m-%d %H:%M:%S} UTC, for {_passes(self._passes)}: {of}: {unseen[0].detail}"


def _passes(number: int) -> str:
    return "1 pass" if number == 1 else f"{number} passes"
