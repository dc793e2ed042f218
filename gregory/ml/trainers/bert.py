"""The classifier pubmed_bert: a fine-tuned BERT encoder with a small head on [CLS], its tokenizer and its files.

`_keras` fits the network. `bert_encoder` loads the encoder and builds the network.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gregory.ml import _keras
from gregory.ml.bundle_limits import require_positions
from gregory.ml.config import BertConfig, Hyperparameters
from gregory.ml.errors import ArtifactError
from gregory.ml.progress import Report
from gregory.ml.split import Part, Split
from gregory.ml.trainers.base import Compute, TrainerContext
from gregory.ml.trainers.bert_config import Activation, read_config
from gregory.ml.trainers.bert_encoder import (
    build_network,
    keep_less,
    load_backbone,
    load_tokenizer,
    require_match,
    restore_backbone,
)
from gregory.ml.trainers.bert_memory import EncoderSize, largest_micro_batch
from gregory.ml.trainers.network import NetworkModel

WEIGHTS_FILE = "bert_weights.h5"
SHAPE_FILE = "model.json"
ENCODER_FOLDER = "encoder"
BACKBONE_FILE = "backbone.json"
_TEXTS_AT_ONCE = 1000
# Keras makes an object of any class from a nested value with the name of the class.
_BACKBONE = TypeAdapter(dict[str, bool | int | float | str | None])
# More tokens do not make a CPU faster, and fewer examples need less padding: docs/decisions/0011-memory-and-precision.md.
_TOKENS_ON_CPU = 2048


class _Shape(BaseModel):
    """model.json: the settings of the network that are not the encoder's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: BertConfig
    activation: Activation
    # Models of older releases have no such field. They were computed with this value.
    layer_norm_eps: float = 1e-12


class BertModel(NetworkModel):
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
        super().__init__(network, batch_size=shape.head.batch_size, history=history, compute=compute)
        self._backbone = backbone
        self._tokenizer = tokenizer
        self._shape = shape

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
        """Rebuild the network from its settings and load the weights."""
        _keras.prepare(threads=threads)
        shape = _Shape.model_validate_json((folder / SHAPE_FILE).read_text(encoding="utf-8"))
        encoder = folder / ENCODER_FOLDER
        settings = _read_backbone(encoder / BACKBONE_FILE)
        tokenizer = load_tokenizer(encoder)
        network = _rebuilt(settings, shape)
        _keras.load_weights(network, folder / WEIGHTS_FILE)
        return cls(network, settings, tokenizer, shape, [])

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return encode(self._tokenizer, texts, self._shape.head.max_length)


class BertTrainer:
    """Fine-tunes the bundle's encoder with a head on top."""

    model_class = BertModel

    def __init__(self, hyperparameters: Hyperparameters, context: TrainerContext) -> None:
        self._config = hyperparameters.bert
        self._context = context

    def fit(self, split: Split, *, report: Report, checkpoint: Path | None = None) -> BertModel:
        """Train on split.train and stop early on split.validation. Continue from the checkpoint if the file exists.

        Raises BundleError if the folder of the encoder is not usable, and NoGpu if a GPU is required and missing.
        """
        config, context, encoder_dir = self._config, self._context, self._context.encoder_dir
        _keras.prepare(threads=context.threads, seed=context.seed, gpu_required=context.require_gpu)
        device = _keras.device()
        precision = _precision(config, device)
        backbone = load_backbone(encoder_dir, precision=precision, dropout=config.encoder_dropout)
        require_positions(config.max_length, backbone.max_sequence_length, encoder_dir)
        tokenizer = load_tokenizer(encoder_dir)
        require_match(tokenizer, backbone, encoder_dir)
        train, validation = (_encoded(tokenizer, part, config.max_length) for part in (split.train, split.validation))
        schedule = schedule_of(config, backbone, device, longest=_longest(train, validation), checkpoint=checkpoint)
        if not device.is_gpu:
            keep_less(backbone)
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
        network = _keras.without_optimiser(network)
        encoder = read_config(encoder_dir)
        shape = _Shape(head=config, activation=encoder.hidden_act, layer_norm_eps=encoder.layer_norm_eps)
        # Keras counts generated names per process. A fixed name makes the files of equal fits equal.
        settings = {**backbone.get_config(), "name": ENCODER_FOLDER, "dtype": "float32"}
        if precision != "float32":
            # The evaluated network must be the one that is loaded later, on any machine.
            network = _in_float32(network, settings, shape)
        compute: Compute = {"device": device.name, "precision": precision, "micro_batch": schedule.examples_at_once}
        return BertModel(network, settings, tokenizer, shape, history, compute)


def encode(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of each text with [CLS] and [SEP], cut at `max_length`, not padded.

    Truncation and padding are always given, because a tokenizer.json may have settings of its own.
    """
    chunks = (list(texts[start : start + _TEXTS_AT_ONCE]) for start in range(0, len(texts), _TEXTS_AT_ONCE))
    encoded = (tokenizer(chunk, truncation=True, max_length=max_length, padding=False)["input_ids"] for chunk in chunks)
    return [ids for chunk in encoded for ids in chunk]


def schedule_of(
    config: BertConfig, backbone: Any, device: _keras.Device, *, longest: int, checkpoint: Path | None = None
) -> _keras.Schedule:
    """The schedule for texts of at most `longest` tokens on this device. A checkpoint fixes the micro-batch."""
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
    """The first of these numbers of examples that exists: configured, of the checkpoint, or fitting the device and its memory."""
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
        is_gpu=device.is_gpu,
        tokens=None if gains_nothing else _TOKENS_ON_CPU,
    )


def _longest(*parts: _keras.Encoded) -> int:
    return max(len(sequence) for part in parts for sequence in part.token_ids)


def _in_float32(network: Any, settings: dict[str, Any], shape: _Shape) -> Any:
    plain = _rebuilt(settings, shape)
    plain.set_weights(network.get_weights())
    return plain


def _read_backbone(path: Path) -> dict[str, Any]:
    try:
        return dict(_BACKBONE.validate_json(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ArtifactError(f"{path} holds another value than numbers and texts; train the model again") from error


def _rebuilt(settings: dict[str, Any], shape: _Shape) -> Any:
    """The network of a model folder. Its weights are random."""
    return build_network(restore_backbone(settings, shape.activation, shape.layer_norm_eps), shape.head)


def _encoded(tokenizer: Any, part: Part, max_length: int) -> _keras.Encoded:
    return _keras.Encoded(
        token_ids=encode(tokenizer, part.texts, max_length), targets=np.eye(2, dtype=np.float32)[part.labels.astype(np.intp)]
    )
