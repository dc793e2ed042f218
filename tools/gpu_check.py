"""Measure the exactness of float32 on the GPU of this machine: `python -m tools.gpu_check`.

NVIDIA GPUs since Ampere can shorten the factors of a product to ten bits (TF32). TensorFlow does so by default, and trainings switch it
off. The tool measures a product and the [CLS] of a random BERT-base, in three ways: with TF32, as a training computes, and on the CPU.
The exit code is 1 without a GPU, or if the GPU is less exact in a training than float32.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gregory.ml import _keras
from gregory.ml._keras import tf
from gregory.ml._keras.hub import keras_hub
from gregory.ml.errors import NoGpu

# float32 has 24 bits, TF32 has 11. A sum of two thousand products loses a few of them.
MOST_DIFFERENCE = 1e-5
SIZE = 2048
REPEATS = 20
WAYS = {"TF32": True, "training": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One computation. difference: the largest from the reference, in the largest value of the reference. seconds: the fastest."""

    computation: str
    way: str
    difference: float
    seconds: float


def measure(device: str, *, size: int = SIZE, layers: int = 12) -> list[Measured]:
    """Both computations on this device with TF32 and without, compared with float64 and with the CPU."""
    generator = np.random.default_rng(69)
    left, right = (generator.normal(size=(size, size)).astype(np.float32) for _ in range(2))
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=1000, num_layers=layers, num_heads=12, hidden_dim=768, intermediate_dim=3072, dropout=0.0
    )
    ids = generator.integers(1, 1000, (8, 128)).astype(np.int32)
    inputs = {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}
    computations: dict[str, Callable[[], NDArray[np.float32]]] = {
        "product": lambda: tf.matmul(left, right).numpy(),
        "[CLS] of BERT": lambda: backbone(inputs)["sequence_output"].numpy()[:, 0],
    }
    with tf.device("CPU"):
        references: dict[str, NDArray[np.floating]] = {
            "product": left.astype(np.float64) @ right,
            "[CLS] of BERT": computations["[CLS] of BERT"](),
        }
    measured = []
    for way, enabled in WAYS.items():
        tf.config.experimental.enable_tensor_float_32_execution(enabled)
        with tf.device(device):
            measured += [_measured(name, way, compute, references[name]) for name, compute in computations.items()]
    return measured


def _measured(name: str, way: str, compute: Callable[[], NDArray[np.float32]], reference: NDArray[np.floating]) -> Measured:
    difference = float(np.abs(compute() - reference).max() / np.abs(reference).max())
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - started)
    return Measured(computation=name, way=way, difference=difference, seconds=min(seconds))


def problems(measured: list[Measured]) -> list[str]:
    """A sentence for each computation of a training that is less exact than float32."""
    return [
        f"{each.computation}: a training differs by {each.difference:.1e}, more than {MOST_DIFFERENCE:.0e}: TF32 is in use"
        for each in measured
        if each.way == "training" and not each.difference <= MOST_DIFFERENCE
    ]


def main() -> int:
    """Print the table of this machine."""
    try:
        _keras.prepare(threads=1, seed=69, gpu_required=True)
    except NoGpu as error:
        print(f"nothing is measured: {error}")
        return 1
    print(_keras.device().name)
    measured = measure("GPU")
    print("| computation | way | largest difference | seconds |\n|---|---|---|---|")
    for each in measured:
        print(f"| {each.computation} | {each.way} | {each.difference:.1e} | {each.seconds:.4f} |")
    found = problems(measured)
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
