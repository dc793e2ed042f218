"""The contract of a runner: how runs reach one kind of machine, and what can be known of them there."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from gregory.env import Environment
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec


class Status(StrEnum):
    """ALIVE, WAITING and DEAD need evidence; UNKNOWN is what remains, and nothing may be concluded from it.

    WAITING: handed over, and held up before its first step: by a queue, a scheduler, the pull of an image.
    """

    ALIVE = "alive"
    PENDING = "pending"
    TERMINATED = "terminated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The answer of a runner about one run.

    detail: the condition of a run that has not ended, for example the cause for which it waits.
    diagnosis: of a terminated run: its end. Of a pending run: it waited longer than its limit, so the reconciler terminates it.
    node: the node of the cluster that has or had the run. report: the outcome report that the back end kept, as JSON.
    missing: the back end answered and does not have the run. The run counts as terminated only if it is still missing later.
    """

    status: Status
    detail: str = ""
    diagnosis: Diagnosis | None = None
    node: str = ""
    report: str = ""
    missing: bool = False

    def __post_init__(self) -> None:
        if self.status is Status.TERMINATED and self.diagnosis is None:
            raise ValueError("the observation of a terminated run has no diagnosis")

    @property
    def reason(self) -> Reason | None:
        """The reason of the diagnosis."""
        return self.diagnosis.reason if self.diagnosis else None

    @property
    def text(self) -> str:
        """The diagnosis as a row has it; the detail if there is none."""
        return self.diagnosis.text if self.diagnosis else self.detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A run as its machine will be asked to carry it out, in that machine's words: printable, and without a secret."""

    spec: RunSpec
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What runs are started from. inherited: the variables of this process, database credentials included; `environment`: ours, checked."""

    project_dir: Path
    models_dir: Path
    bundle_dir: Path
    environment: Environment
    inherited: Mapping[str, str]


class Runner(Protocol):
    """One kind of machine.

    durable: the back end keeps and executes every submitted run. Any process may submit a run again, and missing heartbeats prove
    nothing.
    max_parallel: the number of runs that the back end executes at once. 1: the caller waits for a run before it submits the next.
    None: no limit, and the caller submits all runs.
    shares_models_dir: the submitting process reads the models folder that its runs write.
    gives_gpu: whether its runs are promised a GPU, and so must find one.
    max_attempts: how often a run that its machine took away is tried by itself; 1: whoever wants it again says so.
    stall_seconds: how long a run may work without progress before it is ended; 0: as long as it likes.
    """

    name: str
    durable: bool
    max_parallel: int | None
    shares_models_dir: bool
    gives_gpu: bool
    max_attempts: int
    stall_seconds: int

    def check(self) -> None:
        """Raise NotReady with the first thing that would make every run fail. Asked before any row is written."""

    def owner_handle(self) -> RunHandle:
        """The submitting process itself: who answers for a run until it has been handed over."""

    def render(self, spec: RunSpec) -> Rendered:
        """Pure: what `submit` would start."""

    def submit(self, rendered: Rendered) -> RunHandle:
        """Start the run, or find it started by an earlier call for the same attempt.

        Raises SubmitError where it will not be started, another LaunchError where that is not known or may change.
        """

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """What is known of these runs, in the order given; one call for many."""

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """Ask the run to end, insist after the grace, return when it has ended. Raises LaunchError where that cannot be seen."""

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        """The attempt's event lines from the first on, until it has ended.

        `waiting` is called whenever there is nothing to read, and says whether the run may still be at work: a machine that
        does not answer any more is then not waited for.
        """

    def log_tail(self, spec: RunSpec) -> str:
        """The last lines of the attempt's log, for whoever looks into a dead run; empty where there is none."""

    def debug_commands(self, spec: RunSpec, handle: RunHandle) -> list[str]:
        """What an operator would type to look at the run on its machine; pure."""

    def cleanup(self, spec: RunSpec) -> None:
        """Remove what `submit` left of a run that ended well."""

    def collect_garbage(self, unfinished: Collection[str], *, keep_seconds: float) -> list[str]:
        """Remove what other runs than these, by their ids, left longer ago than this; what that was."""
