"""Read the cluster file, which describes how a run becomes a Job. `manifest` renders the Job.

Keys have the spelling of Kubernetes (`claimName`), and unknown keys are errors. The description of a key is also the remedy in an
error. An empty text means "not set". The file contains names of Secrets and no secret: a value that seems to be one is an error.
"""

from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from yaml.parser import ParserError
from yaml.scanner import ScannerError

from gregory import bounded_yaml
from gregory.launch.errors import BadClusterConfig
from gregory.launch.kubernetes import plaintext_secrets, pod_patch
from gregory.launch.kubernetes.cluster_database import Database
from gregory.launch.kubernetes.cluster_gpu import Gpu
from gregory.launch.kubernetes.cluster_sections import (
    Affinity,
    Deadlines,
    EnvironmentSource,
    EnvironmentVariable,
    Image,
    Kueue,
    Resources,
    Security,
    SharedMemory,
    Submission,
    Toleration,
    Volumes,
)
from gregory.launch.kubernetes.cluster_values import DAY_SECONDS, LabelValue, Name, OptionalName, Seconds, Section
from gregory.launch.kubernetes.labels import is_ours
from gregory.runs.spec import RunKind

# A wrong value in these keys may be a secret, so errors do not show it.
_NOT_SHOWN = ("database", "env", "envFrom", "podTemplatePatch")


class ClusterConfig(Section):
    """The whole file."""

    namespace: str = Field("gregory-train", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="namespace of the Jobs")
    image: Image = Field(description="image of the runs")
    gpu: Gpu = Field(Gpu(), description="GPU of a run")
    node_selector: dict[str, LabelValue] = Field({}, description="labels of the nodes for runs")
    affinity: Affinity = Field(Affinity(), description="affinity as in a pod")
    tolerations: tuple[Toleration, ...] | None = Field(
        None, description="tolerations as in a pod (not set: the taints of GPU nodes, if the run gets a GPU)"
    )
    runtime_class_name: OptionalName = Field("", description="RuntimeClass, such as nvidia if that runtime is not the node's default")
    scheduler_name: OptionalName = Field("", description="scheduler of the pods (empty: the cluster's default)")
    priority_class_name: OptionalName = Field("", description="PriorityClass of the pods")
    kueue: Kueue = Field(Kueue(), description="queue of Kueue")
    resources: Resources = Field(Resources(), description="CPU, memory and disk of a run")
    shared_memory: SharedMemory = Field(SharedMemory(), description="memory that the processes of a run share")
    volumes: Volumes = Field(description="mounted volumes")
    database: Database = Field(description="connection of the runs to the database")
    env: tuple[EnvironmentVariable, ...] = Field((), description="further variables of the container, by reference")
    env_from: tuple[EnvironmentSource, ...] = Field(
        (), description="Secrets and ConfigMaps that become variables of the container, one per key"
    )
    service_account_name: Name = Field("gregory-trainer", description="ServiceAccount of the pods, without rights and without a token")
    security: Security = Field(Security(), description="user and groups of a run")
    deadlines: Deadlines = Field(Deadlines(), description="time limits after which a run is ended")
    grace_period_seconds: Seconds = Field(120, description="seconds between SIGTERM and SIGKILL, for the checkpoint and the rows of a run")
    ttl_seconds_after_finished: int = Field(
        3 * DAY_SECONDS,
        ge=DAY_SECONDS,
        description="seconds that a finished Job and its log stay as evidence for its rows, at least a day (86400)",
    )
    max_attempts: int = Field(3, ge=1, le=10, description="attempts at a run that the cluster removes, the first included")
    submission: Submission = Field(Submission(), description="rate of Job creation")
    labels: dict[str, LabelValue] = Field({}, description="further labels of Job and pod")
    annotations: dict[str, str] = Field({}, description="further annotations of Job and pod")
    pod_template_patch: dict[str, Any] = Field(
        {}, description="merged into the pod template, for settings without a key above (the container is `run`)"
    )

    def of_kind(self, kind: RunKind) -> "ClusterConfig":
        """The settings for runs of this kind: predictions can have a role of their own."""
        return self.model_copy(update={"database": self.database.of_predictions()}) if kind is RunKind.PREDICT else self

    @model_validator(mode="before")
    @classmethod
    def _holds_no_secret(cls, values: Any) -> Any:
        for where in plaintext_secrets.find_plaintext_secrets(values):
            raise ValueError(
                f"{where} seems to be a secret; put it into a Secret of the namespace and name that in "
                "database.existingSecret, env or envFrom"
            )
        return values

    @field_validator("env")
    @classmethod
    def _names_each_once(cls, variables: tuple[EnvironmentVariable, ...]) -> tuple[EnvironmentVariable, ...]:
        names = [variable.name for variable in variables]
        if repeated := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"two entries have the name {repeated!r}; remove one")
        return variables

    @field_validator("labels", "annotations")
    @classmethod
    def _leaves_ours_alone(cls, values: dict[str, str]) -> dict[str, str]:
        for key in values:
            if is_ours(key):
                raise ValueError(f"{key} is set for each run; remove it")
        return values

    @field_validator("pod_template_patch")
    @classmethod
    def _leaves_the_run_alone(cls, patch: dict[str, Any]) -> dict[str, Any]:
        if reason := pod_patch.refusal(patch):
            raise ValueError(reason)
        return patch


def load_cluster_config(path: Path) -> ClusterConfig:
    """Read and check the cluster file. Raises BadClusterConfig, which names file, key, value and remedy."""
    try:
        values = bounded_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadClusterConfig(f"cluster file {path} cannot be read: {error.strerror}; GREGORY_CLUSTER_CONFIG names it") from error
    except UnicodeDecodeError as error:
        raise BadClusterConfig(f"cluster file {path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        # The error itself shows the line, which may contain a secret.
        raise BadClusterConfig(f"cluster file {path} is not YAML: {_problem(error)}") from None
    if not isinstance(values, dict):
        required = [field.alias or name for name, field in ClusterConfig.model_fields.items() if field.is_required()]
        raise BadClusterConfig(f"cluster file {path} must be a mapping with at least the keys {', '.join(required)}")
    try:
        return ClusterConfig.model_validate(values, by_alias=True, by_name=False)
    except ValidationError as error:
        # A misspelt key comes first, because it may be the reason of a missing key.
        first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
        raise BadClusterConfig(f"cluster file {path}: {_in_words(first)}") from error


def _problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it contains a character that YAML does not allow"
    line = error.problem_mark.line + 1
    if isinstance(error, ScannerError | ParserError | bounded_yaml.Refused):
        return f"{error.problem} in line {line}"
    # Other errors repeat the value, which may be a password that begins with * or !.
    return f"an alias or a tag in line {line}; quote a value that begins with * or !"


def _in_words(error: ErrorDetails) -> str:
    location, kind = error["loc"], error["type"]
    where = ".".join(str(part) for part in location)
    if kind == "value_error":
        message = error["msg"].removeprefix("Value error, ")
        return f"{where}: {message}" if where else message
    if kind == "extra_forbidden":
        section, _ = _place(location[:-1])
        return f"{where}: unknown key; the keys here are {', '.join(sorted(_by_alias(section)))}"
    _, description = _place(location)
    if kind == "missing":
        return f"{where}: missing; it is: {description}"
    message = "cannot be used" if kind == "string_pattern_mismatch" else error["msg"]
    shown = "" if location[0] in _NOT_SHOWN else f" (got {error['input']!r})"
    return f"{where}: {message}{shown}; it is: {description}"


def _place(location: tuple[int | str, ...]) -> tuple[type[Section], str]:
    """The innermost section of a location, and the description of the last key that has one."""
    innermost: type[Section] = ClusterConfig
    section: type[Section] | None = innermost
    description = ""
    for part in location:
        if isinstance(part, int):
            continue
        if section is None or part not in _by_alias(section):
            break
        field = _by_alias(section)[part]
        description, section = field.description or "", _section_of(field.annotation)
        innermost = section or innermost
    return innermost, description


def _by_alias(section: type[Section]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _section_of(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((section for part in get_args(annotation) if (section := _section_of(part))), None)
