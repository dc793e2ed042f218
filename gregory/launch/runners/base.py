"""The contract of a runner: how runs reach one kind of machine, and what can be known of them there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gregory.runs.spec import RunHandle, RunSpec


class Life(StrEnum):
    """ALIVE and DEAD need evidence; UNKNOWN is what remains, and nothing may be concluded from it."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a runner sees of a run. exit_code: negative is the signal that killed it; None where nobody knows."""

    life: Life
    detail: str
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A run as its machine will be asked to carry it out: printable, and made without touching the machine."""

    spec: RunSpec
    argv: tuple[str, ...]
    environment: Mapping[str, str]


class Runner(Protocol):
    """One kind of machine.

    concurrent: whether submitted runs proceed side by side; if not, the caller waits for one before it submits the next.
    """

    name: str
    concurrent: bool

    def here(self) -> RunHandle:
        """The submitting process itself: who answers for a run until it has been handed over."""

    def render(self, spec: RunSpec) -> Rendered:
        """Pure: what `submit` would start."""

    def submit(self, rendered: Rendered) -> RunHandle:
        """Start the run. Raises SubmitError."""

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """What is known of these runs, in the order given; one call for many."""

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """Ask the run to end, insist after the grace, return when it has ended."""

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], None]) -> Iterator[str]:
        """The attempt's event lines from the first on, until it has ended; `waiting` is called whenever there is nothing to read."""

    def tail(self, spec: RunSpec) -> str:
        """The last lines of the attempt's log, for whoever looks into a dead run; empty where there is none."""

    def forget(self, spec: RunSpec) -> None:
        """Remove what `submit` and `logs` keep of a run that ended well."""
