"""The BERT encoder of a Hugging Face folder: network, tokenizer, and the classifier's network on top of it."""

import os
from pathlib import Path
from typing import Any

from gregory.ml import _keras
from gregory.ml._keras import keras
from gregory.ml._keras.hub import keras_hub
from gregory.ml.config import BertConfig
from gregory.ml.errors import BundleError
from gregory.ml.trainers.bert_config import PREPARE, Activation, dropout_of, read_config

# Without it transformers warns that torch is missing. This project needs only its tokenizers.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from transformers import AutoTokenizer


def load_backbone(encoder_dir: Path, *, precision: str = "float32", dropout: float | None = None) -> Any:
    """Load the encoder of a Hugging Face folder as a KerasHub backbone.

    It computes as its config.json describes. `dropout` replaces the dropout rate of that file, unless it is None.
    Raises BundleError.
    """
    # If the folder does not exist, from_preset sends a request to a hub.
    if not (encoder_dir / "model.safetensors").is_file():
        raise BundleError(f"{encoder_dir} holds no model.safetensors; {PREPARE}")
    config = read_config(encoder_dir)
    rate = dropout_of(config, encoder_dir) if dropout is None else dropout
    try:
        backbone = keras_hub.models.BertBackbone.from_preset(
            str(encoder_dir), dtype=precision, dropout=rate, num_segments=config.type_vocab_size
        )
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{encoder_dir} is no BERT that KerasHub can read: {error}; {PREPARE}") from error
    return _adapted(backbone, config.hidden_act, config.layer_norm_eps)


def restore_backbone(settings: dict[str, Any], activation: Activation, layer_norm_eps: float) -> Any:
    """Build a backbone from the settings of a model folder. Its weights are random."""
    return _adapted(keras_hub.models.BertBackbone.from_config(settings), activation, layer_norm_eps)


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a Hugging Face folder. Raises BundleError."""
    # Without both files transformers creates a tokenizer with an empty vocabulary.
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise BundleError(f"{folder} holds neither tokenizer.json nor vocab.txt; {PREPARE}")
    try:
        return AutoTokenizer.from_pretrained(
            str(folder),
            local_files_only=True,
            use_fast=True,
            # A title may contain "[PAD]" or "[SEP]". These are words there, and not the control tokens of that name.
            split_special_tokens=True,
            # Without it, transformers asks on the terminal whether to execute code of the folder.
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder} holds no tokenizer that can be read: {error}; {PREPARE}") from error


def require_match(tokenizer: Any, backbone: Any, folder: Path) -> None:
    """Raise BundleError if the tokenizer has more tokens than the encoder, or another padding id."""
    if len(tokenizer) > backbone.vocabulary_size:
        raise BundleError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the encoder {backbone.vocabulary_size}; {PREPARE}")
    if tokenizer.pad_token_id != _keras.PADDING_ID:
        raise BundleError(f"{folder}: the tokenizer pads with id {tokenizer.pad_token_id}, not {_keras.PADDING_ID}; {PREPARE}")


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


def keep_less(backbone: Any) -> None:
    """Keep fewer numbers of each layer for the backward pass, and compute the others again."""
    for layer in backbone.transformer_layers:
        _keras.recompute_activation(layer._feedforward_intermediate_dense)
        _keras.recompute_attention(layer._self_attention_layer)


def normalisations(backbone: Any) -> list[Any]:
    """Every layer normalisation of a backbone."""
    in_layers = [(layer._self_attention_layer_norm, layer._feedforward_layer_norm) for layer in backbone.transformer_layers]
    return [backbone.embeddings_layer_norm, *(norm for pair in in_layers for norm in pair)]


def _adapted(backbone: Any, activation: Activation, layer_norm_eps: float) -> Any:
    # KerasHub has constants for both and no arguments: docs/decisions/0005-bert-gelu.md.
    if activation == "gelu":
        for layer in backbone.transformer_layers:
            layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    for norm in normalisations(backbone):
        norm.epsilon = layer_norm_eps
    return backbone
