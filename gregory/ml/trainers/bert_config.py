"""config.json of a BERT encoder: the settings that change its probabilities or its training. No Keras and no torch."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gregory.ml.errors import BundleError

PREPARE = "make the bundle again with manage.py prepare_base_models"
# The names of Hugging Face. The first is exact, the others are the tanh approximation.
Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh"]
Rate = Annotated[float, Field(ge=0, lt=1)]


class EncoderConfig(BaseModel):
    """The settings beside the shape, with the defaults of transformers. KerasHub reads only the shape: `bert_encoder` applies these."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hidden_act: Activation = "gelu"
    hidden_dropout_prob: Rate = 0.1
    attention_probs_dropout_prob: Rate = 0.1
    layer_norm_eps: Annotated[float, Field(gt=0)] = 1e-12
    type_vocab_size: Annotated[int, Field(ge=1)] = 2
    max_position_embeddings: Annotated[int, Field(ge=1)] = 512
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False


def read_config(encoder_dir: Path) -> EncoderConfig:
    """The settings of a Hugging Face folder. Raises BundleError with the key and the value that this project cannot compute."""
    path = encoder_dir / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}; {PREPARE}") from error
    try:
        return EncoderConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{path}: {key} {first['input']!r}: {first['msg']}; choose another encoder") from error


def dropout_of(config: EncoderConfig, encoder_dir: Path) -> float:
    """The dropout rate of the encoder. KerasHub has one for all layers. Raises BundleError if the encoder has two."""
    hidden, attention = config.hidden_dropout_prob, config.attention_probs_dropout_prob
    if hidden != attention:
        raise BundleError(
            f"{encoder_dir / 'config.json'}: hidden_dropout_prob {hidden:g} and attention_probs_dropout_prob {attention:g} differ, and "
            "KerasHub has one rate: set bert.encoder_dropout in the hyper-parameter file, or choose another encoder"
        )
    return hidden
