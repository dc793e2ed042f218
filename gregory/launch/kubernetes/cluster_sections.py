"""The sections of the cluster file with their rules. `cluster_config` contains the whole file."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gregory.env import SHA256
from gregory.launch.kubernetes.cluster_values import (
    DAY_SECONDS,
    Name,
    OptionalName,
    OptionalQuantity,
    PullPolicy,
    Quantity,
    Seconds,
    SecretKey,
    Section,
    SubPath,
    Variable,
)
from gregory.launch.kubernetes.pod_patch import OUR_VARIABLES


class Image(Section):
    """The image of the runs: target `train` or `train-cpu` of Dockerfile.train."""

    repository: str = Field(pattern=r"^[a-z0-9][A-Za-z0-9._:/-]*$", description="image with its registry, without tag and digest")
    tag: str = Field(
        "", pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$", description="its tag, in quotes if YAML would read it as a number"
    )
    digest: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$", description="its digest, `sha256:` and 64 digits, used instead of the tag")
    pull_policy: PullPolicy = Field("IfNotPresent", description="when a node pulls the image: IfNotPresent, Always or Never")
    pull_secrets: tuple[Name, ...] = Field((), description="names of the Secrets for its registry")

    @property
    def reference(self) -> str:
        """The image as a container names it."""
        return self.by_digest or f"{self.repository}:{self.tag}"

    @property
    def by_digest(self) -> str:
        """The image with its digest. Empty if only a tag is given, because a tag may move."""
        return f"{self.repository}@{self.digest}" if self.digest else ""

    @model_validator(mode="after")
    def _is_one_image(self) -> Self:
        if not (self.tag or self.digest):
            raise ValueError("neither tag nor digest is given; give the digest, or a tag that never moves")
        return self


class Toleration(Section):
    """A toleration as in a pod."""

    key: str = Field("", description="key of the taint (empty: every taint)")
    operator: Literal["Exists", "Equal"] = Field("Exists", description="Exists, or Equal to `value`")
    value: str = Field("", description="value of the taint, for Equal")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("", description="effect of the taint (empty: all effects)")
    toleration_seconds: int | None = Field(None, ge=0, description="seconds that NoExecute is tolerated (not set: no limit)")


class Affinity(Section):
    """The affinity as in a pod. Only the API server checks its content."""

    node_affinity: dict[str, Any] = Field({}, description="affinity to nodes, in addition to nodeSelector")
    pod_affinity: dict[str, Any] = Field({}, description="affinity to other pods")
    pod_anti_affinity: dict[str, Any] = Field({}, description="distance from other pods")


class Kueue(Section):
    """Admission by Kueue, if it is installed in the cluster."""

    queue_name: OptionalName = Field("", description="LocalQueue of the namespace (empty: no Kueue)")
    priority_class: OptionalName = Field("", description="WorkloadPriorityClass, needs queueName")
    read_workloads: bool = Field(
        False, description="true: commands read Workloads and LocalQueues, and tell every cause of waiting in Kueue's words (needs a Role)"
    )

    @model_validator(mode="after")
    def _has_a_queue(self) -> Self:
        if self.priority_class and not self.queue_name:
            raise ValueError(f"priorityClass {self.priority_class!r} has no effect without queueName; give queueName, or remove both")
        return self


class Requests(Section):
    """Resources that the scheduler reserves."""

    cpu: OptionalQuantity = Field("2", description="CPUs reserved for a run, such as 2 or 500m")
    memory: OptionalQuantity = Field("12Gi", description="memory reserved for a run, such as 12Gi")
    ephemeral_storage: OptionalQuantity = Field(
        "256Mi", alias="ephemeral-storage", description="disk of the node reserved for logs and /tmp, such as 2Gi"
    )


class Limits(Section):
    """Upper limits of a run."""

    cpu: OptionalQuantity = Field("", description="CPUs a run may use, such as 8 (empty: all free CPUs of the node)")
    memory: OptionalQuantity = Field("12Gi", description="memory above which a run is killed, such as 12Gi, with /dev/shm included")
    ephemeral_storage: OptionalQuantity = Field(
        "8Gi", alias="ephemeral-storage", description="disk of the node above which a run is evicted, such as 8Gi"
    )


class Resources(Section):
    """Requests and limits of a run without its GPU."""

    requests: Requests = Field(Requests(), description="resources that the scheduler reserves for a run")
    limits: Limits = Field(Limits(), description="upper limits of a run")


class SharedMemory(Section):
    """The file system /dev/shm, through which processes share memory."""

    size: Quantity = Field("1Gi", description="size of /dev/shm, such as 1Gi, part of the memory limit")


class ModelsVolume(Section):
    """The volume with version folders and working folders."""

    claim_name: Name = Field(description="PersistentVolumeClaim of the models, ReadWriteMany if runs use several nodes")
    sub_path: SubPath = Field("", description="folder of the volume that is the models folder, such as gregory/models (empty: the root)")


class ImageVolume(Section):
    """Files that a node pulls as an image."""

    reference: Annotated[str, Field(min_length=1)] = Field(description="image that holds the bundle, with tag or digest")
    pull_policy: PullPolicy = Field("IfNotPresent", description="when a node pulls the image: IfNotPresent, Always or Never")


class BaseModelsVolume(Section):
    """The source of the bundle of base models."""

    claim_name: OptionalName = Field("", description="PersistentVolumeClaim that holds the bundle, mounted read-only")
    image: ImageVolume | None = Field(
        None, description="image that holds the bundle, mounted read-only (needs Kubernetes 1.33 or later, with ImageVolume)"
    )
    sub_path: SubPath = Field("", description="folder of the claim or image that is the bundle (empty: the root)")
    digest: str = Field(
        "", pattern=SHA256, description="sha256 of the bundle's bundle.json, 64 digits; a run refuses another bundle (empty: any bundle)"
    )

    @property
    def in_image(self) -> bool:
        """Whether the bundle is part of the runs' image, so that it needs no volume."""
        return not self.claim_name and self.image is None

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if self.claim_name and self.image:
            raise ValueError("claimName and image exclude each other; remove one, or both if the bundle is in the runs' image")
        if self.sub_path and self.in_image:
            raise ValueError(f"subPath {self.sub_path!r} needs a volume; give claimName or image, or remove it")
        return self


class Volumes(Section):
    """The mounted volumes."""

    models: ModelsVolume = Field(description="place of the models")
    base_models: BaseModelsVolume = Field(BaseModelsVolume(), description="place of the base models (empty: inside the image)")


class KeyReference(Section):
    """One value of a Secret or ConfigMap."""

    name: Name = Field(description="name of the object")
    key: Annotated[SecretKey, Field(min_length=1)] = Field(description="key in it")
    optional: bool = Field(False, description="true: a pod starts without it")


class ValueSource(Section):
    """The source of a variable's value."""

    secret_key_ref: KeyReference | None = Field(None, description="a value of a Secret")
    config_map_key_ref: KeyReference | None = Field(None, description="a value of a ConfigMap")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("give either secretKeyRef or configMapKeyRef")
        return self


class EnvironmentVariable(Section):
    """A further variable of the container, by reference."""

    name: Variable = Field(description="name of the variable")
    value_from: ValueSource = Field(description="source of its value, never the value itself")

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, values: Any) -> Any:
        if isinstance(values, dict) and "value" in values:
            raise ValueError("a plain value is not allowed; put it into a ConfigMap or a Secret and name that in valueFrom")
        return values

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in OUR_VARIABLES:
            raise ValueError(f"{name} is set for each run; remove it")
        return name


class ObjectReference(Section):
    """A whole Secret or ConfigMap."""

    name: Name = Field(description="name of the object")
    optional: bool = Field(False, description="true: a pod starts without it")


class EnvironmentSource(Section):
    """All keys of a Secret or ConfigMap as variables. Variables of the run take precedence."""

    prefix: str = Field("", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$", description="put before every key")
    secret_ref: ObjectReference | None = Field(None, description="a Secret")
    config_map_ref: ObjectReference | None = Field(None, description="a ConfigMap")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise ValueError("give either secretRef or configMapRef")
        return self


class Security(Section):
    """User and groups of a run. All other settings are those of Kubernetes' restricted profile."""

    run_as_user: int | None = Field(10_001, ge=1, description="user of the container, never 0 (null: the cluster chooses it)")
    run_as_group: int | None = Field(10_001, ge=0, description="its group (null: the cluster chooses it)")
    fs_group: int | None = Field(10_001, ge=0, description="group of the models volume (null: the cluster chooses it)")


class Deadlines(Section):
    """One limit for each cause of waiting."""

    queue_seconds: Seconds | None = Field(None, description="seconds that a run may wait in a queue (not set: no limit)")
    pending_seconds: Seconds = Field(
        DAY_SECONDS, description="seconds that a run may wait for a node, including the wait for GPUs that other runs use"
    )
    image_pull_seconds: Seconds = Field(
        1800, description="seconds that the image pull may take, and that an object of the run may be missing"
    )
    run_seconds: Seconds = Field(43_200, description="seconds that a run may work")
    stall_seconds: Seconds = Field(1800, description="seconds that a run may work without progress")


class Submission(Section):
    """The rate of Job creation."""

    per_second: float = Field(
        100.0,
        gt=0,
        le=1000,
        description="largest number of Jobs that one process creates per second",
    )
