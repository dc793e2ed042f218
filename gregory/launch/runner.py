"""The protocol of a runner, which connects one kind of back end."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gregory.env import Environment
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import Attempt, RunHandle, RunSpec


class Status(StrEnum):
    """The condition of a run in its back end. Without evidence it is UNKNOWN, which proves nothing.

    PENDING: the run was submitted and has not started. It waits for a queue, a scheduler or an image.
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
    Of an unknown run: its end, unless a recent heartbeat proves that it lives.
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
    """A specification with the request to its back end. It contains no secret."""

    spec: RunSpec
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The folders and variables that runs start from.

    environment: the checked variables of this project. inherited: all variables of this process, with the database credentials.
    """

    project_dir: Path
    models_dir: Path
    bundle_dir: Path
    environment: Environment
    inherited: Mapping[str, str]


# The pause between two readings of a log. It grows with the time since the last line, so that a line waits for a short part of it.
SHORTEST_POLL_SECONDS, POLL_SECONDS = 0.005, 0.1
POLLS_PER_WAIT = 4


def poll_seconds(quiet: float) -> float:
    """The pause before the next reading of a log. quiet: seconds since its last line."""
    return max(SHORTEST_POLL_SECONDS, min(quiet / POLLS_PER_WAIT, POLL_SECONDS))


class Runner(Protocol):
    """One kind of back end.

    durable: the back end keeps and executes every submitted run. Any process may submit a run again, and missing heartbeats prove
    nothing.
    max_parallel: the number of runs that the caller submits at once, before it waits for the end of one. None: it submits all runs, which
    continue without it.
    shares_models_dir: the submitting process reads the models folder that its runs write.
    sees_models: the models folder of this process is certainly that of the runs. A submitter of predictions then chooses their versions.
    gives_gpu: the back end assigns a GPU to its runs, so a run without a GPU fails.
    max_attempts: the attempts of a run that the back end removes, the first included. 1: no retry.
    stall_seconds: the seconds without progress after which a run is terminated. 0: no limit.
    """

    name: str
    durable: bool
    max_parallel: int | None
    shares_models_dir: bool

    @property
    def gives_gpu(self) -> bool: ...

    @property
    def sees_models(self) -> bool: ...

    @property
    def max_attempts(self) -> int: ...

    @property
    def stall_seconds(self) -> int: ...

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Raise PreconditionFailed for the first cause that would make a run fail. Called before any row of `specs` is written."""

    def owner_handle(self) -> RunHandle:
        """The handle of the submitting process, which is responsible for a run before its submission."""

    def render(self, spec: RunSpec) -> Rendered:
        """The request that `submit` sends. Starts nothing."""

    def submit(self, rendered: Rendered) -> RunHandle:
        """Start the run, or find it if an earlier call for the same attempt started it.

        Raises SubmitError if the run will not start. Raises another LaunchError if that is unknown or a later call may succeed.
        """

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """Observations of the runs in the same order. One call observes any number of runs."""

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """Ask the run to end, and kill it after the grace period. Returns after its end.

        Raises LaunchError if the end was not observed.
        """

    def logs(self, spec: Attempt, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        """The event lines of the attempt from the first on, until its end.

        `waiting` is called while no line arrives. It returns whether the run may still work. If it returns False, the runner does not
        wait for a back end that no longer answers.
        """

    def log_tail(self, spec: Attempt) -> str:
        """The last lines of the attempt's log. Empty if there is no log."""

    def debug_commands(self, spec: Attempt, handle: RunHandle) -> list[str]:
        """Shell commands with which an operator inspects the run. Pure."""

    def cleanup(self, spec: Attempt) -> None:
        """Remove the objects that `submit` created for a successful run."""

    def collect_garbage(
        self, unfinished: Collection[str], *, recent: Collection[str] = (), keep_seconds: float, now: datetime | None = None
    ) -> Iterable[str]:
        """Remove objects of ended runs that are older than `keep_seconds`, by no clock of this machine.

        unfinished: ids of runs to keep. recent: ids of runs that ended less than `keep_seconds` ago by the clock of the database. now: the
        time of the database. The objects of a run that it does not know have only the clock of their own place.

        Returns a description of each removed object. Raises OSError for those that cannot be removed, after all others.
        """


@runtime_checkable
class PolledRunner(Protocol):
    """A runner whose logs can be read without a wait, so that one thread follows several runs."""

    def lines(self, spec: Attempt, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str | None]:
        """As `Runner.logs`, but None at each point where that one would wait."""
