"""A fine-tuned BERT encoder: [CLS] of the last hidden state into a small head, its tokenizer, and its files. Fitting is in `_keras`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gregory.ml import _keras
from gregory.ml._keras import keras, keras_hub
from gregory.ml.config import BertConfig, Hyperparameters
from gregory.ml.errors import BundleError, ConfigError
from gregory.ml.progress import Report
from gregory.ml.split import Part, Split
from gregory.ml.trainers.base import Compute, TrainerContext
from gregory.ml.trainers.bert_memory import EncoderSize, largest_micro_batch

# Or transformers warns that there is no torch; only its tokenizers are wanted.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from transformers import AutoTokenizer

WEIGHTS_FILE = "bert_weights.h5"
SHAPE_FILE = "model.json"
ENCODER_FOLDER = "encoder"
BACKBONE_FILE = "backbone.json"
_TEXTS_AT_ONCE = 1000
# More at once makes a CPU no faster, and fewer rows pad each other less: docs/decisions/0011-memory-and-precision.md.
_TOKENS_ON_CPU = 2048
_PREPARE = "make the bundle again with manage.py prepare_base_models"

# Hugging Face's names: the first is exact, the others are the tanh approximation.
Activation = Literal["gelu", "gelu_new", "gelu_pytorch_tanh"]


class _Shape(BaseModel):
    """model.json: what the network needs beside the encoder's own settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: BertConfig
    activation: Activation


class BertModel:
    """A fine-tuned network with its tokenizer."""

    def __init__(
        self,
        network: Any,
        backbone: dict[str, Any],
        tokenizer: Any,
        shape: _Shape,
        history: list[dict[str, float]],
        compute: Compute | None = None,
    ) -> None:
        self._network = network
        self._predictor = _keras.Predictor(network)
        self._backbone = backbone
        self._tokenizer = tokenizer
        self._shape = shape
        self._history = history
        self._compute = compute or {}

    @property
    def history(self) -> list[dict[str, float]]:
        """Losses (the head's penalty included) per epoch."""
        return self._history

    @property
    def compute(self) -> Compute:
        """Device, precision and micro-batch of the fit. Asked, a model always computes in float32."""
        return self._compute

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of "relevant" for each text."""
        if len(texts) == 0:
            return np.empty(0)
        head = self._shape.head
        return self._predictor.predict(encode(self._tokenizer, texts, head.max_length), batch_size=head.batch_size)[:, 1]

    def save(self, folder: Path) -> None:
        """Write weights, shape, and the encoder's settings and tokenizer."""
        _keras.save_weights(self._network, folder / WEIGHTS_FILE)
        (folder / SHAPE_FILE).write_text(self._shape.model_dump_json(indent=2) + "\n", encoding="utf-8")
        encoder = folder / ENCODER_FOLDER
        encoder.mkdir(exist_ok=True)
        (encoder / BACKBONE_FILE).write_text(json.dumps(self._backbone, indent=2) + "\n", encoding="utf-8")
        self._tokenizer.save_pretrained(encoder)

    @classmethod
    def load(cls, folder: Path, *, threads: int) -> Self:
        """Rebuild the network from its settings and fill in the weights."""
        _keras.prepare(threads=threads)
        shape = _Shape.model_validate_json((folder / SHAPE_FILE).read_text(encoding="utf-8"))
        encoder = folder / ENCODER_FOLDER
        settings = json.loads((encoder / BACKBONE_FILE).read_text(encoding="utf-8"))
        tokenizer = load_tokenizer(encoder)
        network = _rebuilt(settings, shape)
        _keras.load_weights(network, folder / WEIGHTS_FILE)
        return cls(network, settings, tokenizer, shape, [])


class BertTrainer:
    """Fine-tunes the bundle's encoder with a head on top."""

    model_class = BertModel

    def __init__(self, hyperparameters: Hyperparameters, context: TrainerContext) -> None:
        self._config = hyperparameters.bert
        self._context = context

    def fit(self, split: Split, *, report: Report, checkpoint: Path | None = None) -> BertModel:
        """Train on split.train, stop on split.validation; continue from the checkpoint where there is one.

        Raises BundleError where the encoder's folder is not usable, NoGpu where there must be a GPU and is none.
        """
        config, context, encoder_dir = self._config, self._context, self._context.encoder_dir
        _keras.prepare(threads=context.threads, seed=context.seed, gpu_required=context.require_gpu)
        device = _keras.device()
        precision = _precision(config, device)
        backbone = load_backbone(encoder_dir, precision=precision, dropout=config.encoder_dropout)
        if (positions := backbone.max_sequence_length) < config.max_length:
            raise ConfigError(f"bert.max_length {config.max_length} exceeds the {positions} positions of {encoder_dir}; lower it")
        tokenizer = load_tokenizer(encoder_dir)
        require_match(tokenizer, backbone, encoder_dir)
        train, validation = (_encoded(tokenizer, part, config.max_length) for part in (split.train, split.validation))
        schedule = schedule_of(config, backbone, device, longest=_longest(train, validation), checkpoint=checkpoint)
        network = build_network(backbone, config)
        optimizer = _keras.Adam(config.learning_rate, gradient_accumulation_steps=schedule.accumulation_steps)
        network.compile(optimizer=optimizer, loss="categorical_crossentropy", jit_compile=False)
        history = _keras.fit(
            network,
            train=train,
            validation=validation,
            schedule=schedule,
            seed=context.seed,
            report=report,
            checkpoint_file=checkpoint,
        )
        shape = _Shape(head=config, activation=read_activation(encoder_dir))
        # A generated name counts the backbones of a process; the files of equal fits shall be equal.
        settings = {**backbone.get_config(), "name": ENCODER_FOLDER, "dtype": "float32"}
        if precision != "float32":
            # What is evaluated must be what is loaded later, on whatever machine.
            network = _in_float32(network, settings, shape)
        compute: Compute = {"device": device.name, "precision": precision, "micro_batch": schedule.rows}
        return BertModel(network, settings, tokenizer, shape, history, compute)


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each text with [CLS] and [SEP], cut at `max_length`, not padded.

    Truncation and padding are always given: a tokenizer.json may bring its own.
    """
    chunks = (list(texts[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(texts), _TEXTS_AT_ONCE))
    encoded = (tokenizer(chunk, truncation=True, max_length=max_length, padding=False)["input_ids"] for chunk in chunks)
    return [ids for chunk in encoded for ids in chunk]


def load_backbone(encoder_dir: Path, *, precision: str = "float32", dropout: float | None = None) -> Any:
    """The encoder of a Hugging Face folder as a KerasHub backbone that computes what config.json says, but for the dropout given.

    Raises BundleError.
    """
    # Given a folder that is not there, from_preset would ask a hub.
    if not (encoder_dir / "model.safetensors").is_file():
        raise BundleError(f"{encoder_dir} holds no model.safetensors; {_PREPARE}")
    activation = read_activation(encoder_dir)
    settings: dict[str, Any] = {"dtype": precision} if dropout is None else {"dtype": precision, "dropout": dropout}
    try:
        backbone = keras_hub.models.BertBackbone.from_preset(str(encoder_dir), **settings)
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{encoder_dir} is no BERT that KerasHub can read: {error}; {_PREPARE}") from error
    return _activated(backbone, activation)


def read_activation(encoder_dir: Path) -> Activation:
    """Which GELU the encoder was trained with. Raises BundleError where it is none."""
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
    # With neither file transformers would make up a tokenizer that knows no word.
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise BundleError(f"{folder} holds neither tokenizer.json nor vocab.txt; {_PREPARE}")
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, use_fast=True)
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder} holds no tokenizer that can be read: {error}; {_PREPARE}") from error


def require_match(tokenizer: Any, backbone: Any, folder: Path) -> None:
    """Raise BundleError where the tokenizer gives ids that the encoder does not know or pads with another one."""
    if len(tokenizer) > backbone.vocabulary_size:
        raise BundleError(f"{folder}: the tokenizer knows {len(tokenizer)} tokens, the encoder {backbone.vocabulary_size}; {_PREPARE}")
    if tokenizer.pad_token_id != _keras.PADDING_ID:
        raise BundleError(f"{folder}: the tokenizer pads with id {tokenizer.pad_token_id}, not {_keras.PADDING_ID}; {_PREPARE}")


def schedule_of(
    config: BertConfig, backbone: Any, device: _keras.Device, *, longest: int, checkpoint: Path | None = None
) -> _keras.Schedule:
    """How to fit on this device texts of at most `longest` tokens, or to go on with the fit of the checkpoint."""
    length = config.max_length if config.padding == "max_length" else None
    return _keras.Schedule(
        epochs=config.epochs,
        batch_size=config.batch_size,
        patience=config.patience,
        micro_batch=_micro_batch(config, backbone, device, length or longest, checkpoint),
        length=length,
    )


def _precision(config: BertConfig, device: _keras.Device) -> str:
    if config.precision != "auto":
        return config.precision
    return "mixed_bfloat16" if device.has_bfloat16 else "float32"


def _micro_batch(config: BertConfig, backbone: Any, device: _keras.Device, length: int, checkpoint: Path | None) -> int:
    """The configured rows, those of the fit to be continued, or those that suit the device and that it has memory for."""
    if config.micro_batch is not None:
        return min(config.micro_batch, config.batch_size)
    begun = _keras.micro_batch_of(checkpoint) if checkpoint is not None else None
    if begun is not None:
        return begun
    size = EncoderSize(
        layers=backbone.num_layers,
        heads=backbone.num_heads,
        hidden=backbone.hidden_dim,
        inner=backbone.intermediate_dim,
        parameters=backbone.count_params(),
    )
    gains_nothing = device.is_gpu or config.padding == "max_length"
    return largest_micro_batch(
        size,
        batch_size=config.batch_size,
        length=length,
        available=device.free_bytes,
        tokens=None if gains_nothing else _TOKENS_ON_CPU,
    )


def _longest(*parts: _keras.Encoded) -> int:
    return max(len(sequence) for part in parts for sequence in part.token_ids)


def _in_float32(network: Any, settings: dict[str, Any], shape: _Shape) -> Any:
    plain = _rebuilt(settings, shape)
    plain.set_weights(network.get_weights())
    return plain


def _rebuilt(settings: dict[str, Any], shape: _Shape) -> Any:
    """The network of a model folder, its weights still random."""
    return build_network(_activated(keras_hub.models.BertBackbone.from_config(settings), shape.activation), shape.head)


def _activated(backbone: Any, activation: Activation) -> Any:
    if activation == "gelu":
        # KerasHub hard-wires the approximation and has no argument for it: docs/decisions/0005-bert-gelu.md.
        for layer in backbone.transformer_layers:
            layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    return backbone


def build_network(backbone: Any, head: BertConfig) -> Any:
    """The encoder with the head on its [CLS]: token ids (n, length) -> probabilities (n, 2)."""
    # Without the backbone's pooler, which nothing here reads: it would be trained by nobody and saved by us.
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


def _encoded(tokenizer: Any, part: Part, max_length: int) -> _keras.Encoded:
    return _keras.Encoded(
        token_ids=encode(tokenizer, part.texts, max_length), targets=np.eye(2, dtype=np.float32)[part.labels.astype(np.intp)]
    )
