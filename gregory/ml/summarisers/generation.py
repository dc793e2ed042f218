"""The settings of a BART summariser in its folder, and the limits that they give. No CTranslate2."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gregory.ml.config import SummariserConfig
from gregory.ml.errors import ConfigError

GENERATION_FILE = "generation.json"
Positive = Annotated[int, Field(ge=1)]


class Generation(BaseModel):
    """The generation settings of the model, with the names of Hugging Face. positions: its longest input or output, in tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    num_beams: Positive
    length_penalty: float
    no_repeat_ngram_size: Annotated[int, Field(ge=0)]
    min_length: Positive
    early_stopping: Literal[True] = True
    forced_bos_token: str | None
    forced_eos_token: str | None
    positions: Positive


def require_within(config: SummariserConfig, generation: Generation) -> None:
    """Raise ConfigError if the summariser cannot read or write as many tokens as the configuration says."""
    for name, asked in (("max_source_tokens", config.max_source_tokens), ("max_new_tokens", config.max_new_tokens)):
        if asked > generation.positions:
            raise ConfigError(f"summariser.{name} is {asked}, but this summariser has {generation.positions} positions: lower the value")
    if config.max_new_tokens < generation.min_length:
        raise ConfigError(
            f"summariser.max_new_tokens is {config.max_new_tokens}, but this summariser writes at least {generation.min_length}: "
            "raise the value"
        )
