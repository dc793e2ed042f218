"""Keras and TensorFlow for the trainers. No other package imports them.

`runtime` configures the libraries and `batching` makes batches. `training_loop` fits a network with `optimiser`, and `checkpoint`
saves its state. `recompute` saves memory of the backward pass. `predict` computes probabilities, `weights` reads and writes weight files.
`hub` has KerasHub. The trainers build the networks.
"""

from gregory.ml._keras.batching import PADDING_ID, Encoded, TokenIds, batch_plan, pad
from gregory.ml._keras.checkpoint import micro_batch_of
from gregory.ml._keras.optimiser import Adam
from gregory.ml._keras.predict import Predictor
from gregory.ml._keras.recompute import recompute_activation, recompute_attention
from gregory.ml._keras.runtime import Device, device, keras, prepare, require_gpu, tf
from gregory.ml._keras.training_loop import Schedule, fit
from gregory.ml._keras.weights import load_weights, save_weights, without_optimiser

__all__ = [
    "PADDING_ID",
    "Adam",
    "Device",
    "Encoded",
    "Predictor",
    "Schedule",
    "TokenIds",
    "batch_plan",
    "device",
    "fit",
    "keras",
    "load_weights",
    "micro_batch_of",
    "pad",
    "prepare",
    "recompute_activation",
    "recompute_attention",
    "require_gpu",
    "save_weights",
    "tf",
    "without_optimiser",
]
