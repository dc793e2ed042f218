"""The section `gpu` of the cluster file: a resource of a device plugin, or devices by a ResourceClaim."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gregory.launch.kubernetes.cluster_values import OptionalName, Section


class GpuClaim(Section):
    """Devices that Kubernetes allocates dynamically (DRA)."""

    device_class_name: OptionalName = Field(
        "", description="DeviceClass; the submitter creates a ResourceClaimTemplate for `gpu.count` of its devices"
    )
    selectors: tuple[Annotated[str, Field(min_length=1, max_length=10_240)], ...] = Field(
        (), max_length=32, description="conditions for such a device in CEL, such as device.attributes['gpu.nvidia.com'].type == 'gpu'"
    )
    template_name: OptionalName = Field("", description="ResourceClaimTemplate of the namespace, instead of deviceClassName")

    @model_validator(mode="after")
    def _is_one_source(self) -> Self:
        if bool(self.device_class_name) == bool(self.template_name):
            raise ValueError("give either deviceClassName or templateName")
        if self.selectors and self.template_name:
            raise ValueError(
                f"selectors need deviceClassName; put them into the ResourceClaimTemplate {self.template_name}, or remove them"
            )
        return self


class Gpu(Section):
    """The GPU of a run."""

    resource: str = Field(
        "nvidia.com/gpu",
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        description="resource of the device plugin, such as nvidia.com/gpu, nvidia.com/mig-3g.20gb or amd.com/gpu "
        "(with claim: only for the tolerated taint)",
    )
    count: int = Field(1, ge=0, le=16, description="number of this resource per run (0: none, runs train on the CPU)")
    claim: GpuClaim | None = Field(None, description="devices by a ResourceClaim instead of the resource (needs Kubernetes 1.34 or later)")
    required: bool = Field(True, description="true: a run that finds no promised GPU fails with `no_gpu`, false: it uses the CPU")

    @property
    def is_demanded(self) -> bool:
        """The value of RunSpec.require_gpu."""
        return self.required and self.count > 0

    @property
    def plugin_resource(self) -> dict[str, str]:
        """The devices in the limits of the container. Empty for a claim. Kubernetes sets the request to the same number."""
        return {self.resource: str(self.count)} if self.count and self.claim is None else {}

    @property
    def taints(self) -> tuple[str, ...]:
        """Keys of the usual taints of GPU nodes: that of the vendor, also for a slice of a GPU, and the resource."""
        return tuple(dict.fromkeys((f"{self.resource.partition('/')[0]}/gpu", self.resource))) if self.count else ()

    @model_validator(mode="after")
    def _counts_what_is_claimed(self) -> Self:
        if self.claim is not None and not self.count:
            raise ValueError("count 0 and claim exclude each other; remove one")
        if self.claim is not None and self.claim.template_name and self.count != 1:
            raise ValueError(f"count {self.count} has no effect with claim.templateName, whose template has the number; remove it")
        return self
