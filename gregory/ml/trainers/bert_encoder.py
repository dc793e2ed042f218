"""The BERT encoder of a Hugging Face folder: network, tokenizer, and the classifier's network on top of it."""

import json
import os
from pathlib import Path
from typing import Any, Literal, cast, get_args

from gregory.ml import _keras
from gregory.ml._keras import keras, keras_hub
from gregory.ml.config import BertConfig
from gregory.ml.errors import BundleError

# Without it transformers warns that torch is missing. This project needs only its tokenizers.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from transformers import AutoTokenizer

# The names of Hugging Face. The first is exact, the others are the tanh approximation.
Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh"]

_PREPARE = "make the bundle again with manage.py prepare_base_models"


def load_backbone(encoder_dir: Path, *, precision: str = "float32", dropout: float | None = None) -> Any:
    """Load the encoder of a Hugging Face folder as a KerasHub backbone.

    It computes as its config.json describes. `dropout` replaces the dropout rate of that file, unless it is None.
    Raises BundleError.
    """
    # If the folder does not exist, from_preset sends a request to a hub.
    if not (encoder_dir / "model.safetensors").is_file():
        raise BundleError(f"{encoder_dir} holds no model.safetensors; {_PREPARE}")
    activation = read_activation(encoder_dir)
    settings: dict[str, Any] = {"dtype": precision} if dropout is None else {"dtype": precision, "dropout": dropout}
    try:
        backbone = keras_hub.models.BertBackbone.from_preset(str(encoder_dir), **settings)
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{encoder_dir} is no BERT that KerasHub can read: {error}; {_PREPARE}") from error
    return _activated(backbone, activation)


def restore_backbone(settings: dict[str, Any], activation: Activation) -> Any:
    """Build a backbone from the settings of a model folder. Its weights are random."""
    return _activated(keras_hub.models.BertBackbone.from_config(settings), activation)


def read_activation(encoder_dir: Path) -> Activation:
    """The GELU that the encoder was trained with. Raises BundleError for any other activation."""
    path = encoder_dir / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}; {_PREPARE}") from error
    activation = settings.get("hidden_act", "gelu")
    if activation not in get_args(Activation):
        raise BundleError(f"{path}: hidden_act {activation!r} is none of {', '.join(get_args(Activation))}; choose another encoder")
    return cast(Activation, activation)


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a Hugging Face folder. Raises BundleError."""
    # Without both files transformers creates a tokenizer with an empty vocabulary.
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise BundleError(f"{folder} holds neither tokenizer.json nor vocab.txt; {_PREPARE}")
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, use_fast=True)
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder} holds no tokenizer that can be read: {error}; {_PREPARE}") from error


def require_match(tokenizer: Any, backbone: Any, folder: Path) -> None:
    """Raise BundleError if the tokenizer has more tokens than the encoder, or another padding id."""
    if len(tokenizer) > backbone.vocabulary_size:
        raise BundleError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the encoder {backbone.vocabulary_size}; {_PREPARE}")
    if tokenizer.pad_token_id != _keras.PADDING_ID:
        raise BundleError(f"{folder}: the tokenizer pads with id {tokenizer.pad_token_id}, not {_keras.PADDING_ID}; {_PREPARE}")


def build_network(backbone: Any, head: BertConfig) -> Any:
    """The encoder with the head on its [CLS]: token ids (n, length) -> probabilities (n, 2)."""
    # The pooler is left out: no layer reads it, so it would be saved without being trained.
    encoder = keras.Model(backbone.input, backbone.output["sequence_output"], name="encoder")
    encoder.trainable = not head.freeze_weights
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    hidden = encoder(
        {
            "token_ids": token_ids,
            "segment_ids": keras.ops.zeros_like(token_ids),
            "padding_mask": keras.ops.cast(keras.ops.not_equal(token_ids, _keras.PADDING_ID), "int32"),
        }
    )
    regularizer = keras.regularizers.L2(head.dense_l2)
    hidden = keras.layers.Dense(head.dense_units, activation="relu", kernel_regularizer=regularizer, name="dense")(hidden[:, 0, :])
    hidden = keras.layers.Dropout(head.dropout, name="dropout")(hidden)
    probabilities = keras.layers.Dense(2, activation="softmax", dtype="float32", name="probabilities")(hidden)
    return keras.Model(token_ids, probabilities, name="bert_classifier")


def _activated(backbone: Any, activation: Activation) -> Any:
    if activation == "gelu":
        # KerasHub always uses the approximation and has no argument for it: docs/decisions/0005-bert-gelu.md.
        for layer in backbone.transformer_layers:
            layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    return backbone
