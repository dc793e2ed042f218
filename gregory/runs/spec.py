"""RunSpec, RunHandle and the outcomes: the values that the commands and the process of a run exchange. No Django, no secret."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gregory.ml.config import Algorithm, TrainConfig
from gregory.runs.reasons import Reason

# A report of another version may have more keys. They are kept, because its digest includes them.
_OF_ANY_VERSION = ConfigDict(frozen=True, extra="allow")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(_Value):
    """A team or a subject, by id and slug."""

    id: int
    slug: str


class Training(_Value):
    """One model to train: its row in PredictionRunLog (0 until the row is written) and its version.

    algorithm: another version of this program may know more algorithms.
    """

    algorithm: str
    run_log_id: int
    version: str


class AlgorithmSpec(Training):
    """The same, of an algorithm that this version can train."""

    algorithm: Algorithm


class Window(_Value):
    """The articles that a run may use: those discovered at or after `cutoff` (UTC), or all if it is None."""

    cutoff: AwareDatetime | None
    description: str


FOREIGN = "another version of this program specified the run"


class Attempt(_Value):
    """The part of a specification with which an attempt is observed, cancelled and ended. It can be read from any version's.

    An attempt that is not a RunSpec was specified by another version, so this version cannot start, retry or resume it.
    """

    schema_number: int = 1
    run_id: str
    attempt: Annotated[int, Field(ge=1)] = 1
    attempt_token: str
    team: Scope
    subject: Scope
    algorithms: tuple[Training, ...]

    @property
    def label(self) -> str:
        """team/subject, by slugs."""
        return f"{self.team.slug}/{self.subject.slug}"


class RunSpec(Attempt):
    """All input of one attempt: one subject, one submission. The algorithms are in the order of the request and of training."""

    schema_number: Literal[1] = 1
    algorithms: tuple[AlgorithmSpec, ...]
    config: TrainConfig
    window: Window
    require_gpu: bool = False
    verbosity: Annotated[int, Field(ge=0, le=3)] = 1


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


class AlgorithmOutcome(Training):
    """The result of one training. error: the whole traceback, or the text of a diagnosis. metrics: empty without success."""

    model_config = _OF_ANY_VERSION

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
    """The outcome report of an attempt. A reconciler closes the rows from it if the run could not reach the database.

    algorithms: also an entry with the negative id of a row whose model was being published, so that the end of the row is not known. Each
    reader skips outcomes of unknown rows.
    interrupted: the cause for which the run stopped early, so that another attempt may continue its open rows. Empty if it did not.
    """

    model_config = _OF_ANY_VERSION

    run_id: str
    attempt: int
    algorithms: tuple[AlgorithmOutcome, ...]
    interrupted: str = ""


def new_run_id() -> str:
    """Twelve hexadecimal digits: unique, and short enough for every name that contains it."""
    return uuid4().hex[:12]


def new_token() -> str:
    """A fencing token. It is not a secret. Only the attempt with the current one may write the end of the run."""
    return uuid4().hex
