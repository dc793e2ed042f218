"""RunSpec, RunHandle and AlgorithmOutcome: what crosses the border between the operator's door and the run's door. No Django, no secret."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gregory.ml.config import Algorithm, TrainConfig
from gregory.runs.reasons import Reason


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(_Value):
    """A team or a subject, by id and slug."""

    id: int
    slug: str


class AlgorithmSpec(_Value):
    """One model to train: its row in PredictionRunLog (0 until the row is written) and its version."""

    algorithm: Algorithm
    run_log_id: int
    version: str


class Window(_Value):
    """Which articles count: those discovered at or after `cutoff` (UTC), or all where it is None."""

    cutoff: AwareDatetime | None
    description: str


class RunSpec(_Value):
    """One subject x one submission. The order of `algorithms` is the order asked and the order trained."""

    schema_number: Literal[1] = 1
    run_id: str
    attempt: Annotated[int, Field(ge=1)] = 1
    attempt_token: str
    team: Scope
    subject: Scope
    algorithms: tuple[AlgorithmSpec, ...]
    config: TrainConfig
    window: Window
    require_gpu: bool = False
    verbosity: Annotated[int, Field(ge=0, le=3)] = 1

    @property
    def label(self) -> str:
        """team/subject, as people name it."""
        return f"{self.team.slug}/{self.subject.slug}"


class HandleKind(StrEnum):
    """The kind of object that a handle identifies. The value is the prefix of the handle's host."""

    PROCESS = ""
    CONTAINER = "docker"
    JOB = "kubernetes"

    def host(self, address: str) -> str:
        """The host of a handle of this kind. `address` is unique among the back ends of the kind."""
        return f"{self}@{address}" if self else address


class RunHandle(_Value):
    """The name of a run's process, container or Job on its host, with an identity that no later one of that name has.

    The database, containers and Jobs store these three texts. `kind` is derived and never stored.
    """

    host: str
    name: str
    uid: str

    @property
    def kind(self) -> HandleKind:
        """The kind that the prefix of the host names. The host name of a process contains no @."""
        prefix, at, _ = self.host.partition("@")
        return HandleKind(prefix) if at and prefix in list(HandleKind) else HandleKind.PROCESS


class AlgorithmOutcome(_Value):
    """How one algorithm ended. `error` is the whole traceback or the reason in words; metrics only on success."""

    algorithm: Algorithm
    run_log_id: int
    version: str
    success: bool
    reason: Reason | None = None
    error: str = ""
    metrics: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    artifact: str = ""
    digest: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


class RunOutcome(_Value):
    """What became of an attempt, as the run itself says it: for whoever closes its rows if the database was out of its reach.

    interrupted: why the run gave up before its end, so that what is open may go on in another attempt; empty where it did not.
    """

    run_id: str
    attempt: int
    algorithms: tuple[AlgorithmOutcome, ...]
    interrupted: str = ""


def new_run_id() -> str:
    """Twelve hexadecimal digits: unique, and short enough for every name that is derived from it."""
    return uuid4().hex[:12]


def new_token() -> str:
    """A secret-free fencing token: whoever holds the current one may write the run's end."""
    return uuid4().hex
