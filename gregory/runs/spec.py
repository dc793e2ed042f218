"""RunSpec, RunHandle and the outcomes: the values that the commands and the process of a run exchange. No Django, no secret."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, field_validator, model_validator

from gregory.ml import thresholds
from gregory.ml.config import Algorithm, TrainConfig
from gregory.ml.errors import ConfigError
from gregory.ml.gate import GateConfig
from gregory.ml.run_folder import RunFolder
from gregory.output import one_line
from gregory.runs.reasons import Reason

# A report of another version may have more keys. They are kept, because its digest includes them.
_OF_ANY_VERSION = ConfigDict(frozen=True, extra="allow")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(_Value):
    """A team or a subject, by id and slug."""

    id: int
    slug: str


class RunKind(StrEnum):
    """The work of a run. The value is the run_type of its rows, and the stage of an algorithm at work."""

    TRAIN = "train"
    PREDICT = "predict"


class Training(_Value):
    """One model to train or to use: its row in PredictionRunLog (0 until the row is written) and its version.

    algorithm: another version of this program may know more algorithms.
    """

    algorithm: str
    run_log_id: int
    version: str


class AlgorithmSpec(Training):
    """The same, of an algorithm that this version knows."""

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
        """team/subject, by slugs, for messages."""
        return one_line(f"{self.team.slug}/{self.subject.slug}")

    @property
    def place(self) -> str:
        """The folder of the subject, relative to the models folder."""
        return f"{self.team.slug}/{self.subject.slug}"

    def folder(self, models_dir: Path) -> RunFolder:
        """The working folder of the run."""
        return RunFolder(models_dir=models_dir, team=self.team.slug, subject=self.subject.slug, run_id=self.run_id)


class RunSpec(Attempt):
    """All input of one attempt: one subject, one submission. The algorithms are in the order of the request and of the work.

    Reading a RunSpec gives a TrainSpec or a PredictSpec. A release that cannot predict refuses the `kind` of a PredictSpec.

    publish_only: the run has ended but for models that may be published. This attempt publishes them, and trains nothing.
    """

    work: ClassVar[RunKind]

    schema_number: Literal[1] = 1
    algorithms: tuple[AlgorithmSpec, ...]
    window: Window
    require_gpu: bool = False
    verbosity: Annotated[int, Field(ge=0, le=3)] = 1
    # Left out unless it is true, so that an older version can start all other attempts.
    publish_only: bool = Field(False, exclude_if=lambda only: not only)

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Any:
        if cls is not RunSpec or isinstance(value, RunSpec):
            return handler(value)
        of_kind = PredictSpec if isinstance(value, dict) and "kind" in value else TrainSpec
        return of_kind.model_validate(value)


class TrainSpec(RunSpec):
    """Train the algorithms on the reviewed articles in the window.

    gate: promotes a new version that is not worse than the one in use. None: nothing is promoted.
    """

    work: ClassVar[RunKind] = RunKind.TRAIN

    config: TrainConfig
    # Left out without a gate, so that an older release can read the specification.
    gate: Annotated[GateConfig | None, Field(exclude_if=lambda gate: gate is None)] = None
    # For the same reason left out.
    titles: bool = Field(True, exclude_if=lambda titles: titles)


class PredictConfig(_Value):
    """The choices of a prediction.

    threshold: as `thresholds` reads it, None for that of each model. version: the named version, None for the promoted or newest one.
    recompute: also GregoryAI's values that follow from predictions.
    """

    version: str | None = None
    threshold: str | None = None
    skip_without_summary: bool = False
    recompute: bool = True

    @field_validator("threshold")
    @classmethod
    def _is_a_choice(cls, choice: str | None) -> str | None:
        try:
            return None if choice is None else str(thresholds.parse(choice))
        except ConfigError as error:
            raise ValueError(str(error)) from error


class PredictSpec(RunSpec):
    """Predict the articles in the window that have no prediction of these versions.

    digests: sha256 of each model's manifest, by algorithm. The run chooses version and digest of an algorithm that is missing here.
    """

    work: ClassVar[RunKind] = RunKind.PREDICT

    kind: Literal[RunKind.PREDICT] = RunKind.PREDICT
    config: PredictConfig = PredictConfig()
    digests: dict[Algorithm, str]


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
    """A fencing token. Only the attempt with the current one may write the end of the run. No other run may learn it."""
    return uuid4().hex
