"""Types of values in the cluster file, and the base class of its sections."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

DAY_SECONDS = 86_400
_NAME = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_AMOUNT = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?"
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"


def _as_text(value: object) -> object:
    # YAML reads `cpu: 4` as a number. Kubernetes accepts numbers and texts.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Name = Annotated[str, Field(pattern=f"^{_NAME}$")]
OptionalName = Annotated[str, Field(pattern=f"^({_NAME})?$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
SecretKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")]
SubPath = Annotated[str, Field(pattern=f"^({_SEGMENT}(/{_SEGMENT})*)?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]
Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(pattern=f"^{_AMOUNT}$"),
    WithJsonSchema({"type": ["string", "number"], "pattern": f"^{_AMOUNT}$"}),
]
OptionalQuantity = Annotated[
    str,
    BeforeValidator(_as_text),
    Field(pattern=f"^({_AMOUNT})?$"),
    WithJsonSchema({"type": ["string", "number"], "pattern": f"^({_AMOUNT})?$"}),
]
Seconds = Annotated[int, Field(ge=1)]
PullPolicy = Literal["IfNotPresent", "Always", "Never"]


class Section(BaseModel):
    """A section with keys in the spelling of Kubernetes. Unknown keys are errors. Values are frozen."""

    # Errors are logged, and a wrong value may be a password.
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )
