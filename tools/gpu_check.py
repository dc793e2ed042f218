"""Check the GPU of this machine: `python -m tools.gpu_check [--small]`. docs/docker.md has the command for the image.

1. A process that sees no GPU must end with `no_gpu`.
2. A summariser with the size of BART-large in float16, and a training step of an encoder with the size of BERT-base. Their weights are
   random, so no download is needed. Seconds, and the largest memory of GPU and process.
3. The exactness of float32. NVIDIA GPUs since Ampere can shorten the factors of a product to ten bits (TF32). TensorFlow does so by
   default, and trainings switch it off. A product and the [CLS] of a random BERT-base are measured in three ways: with TF32, as a
   training computes, and on the CPU.

The exit code is 1 without a GPU, and if a check fails.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from gregory.ml import _keras
from gregory.ml._keras import tf
from gregory.ml._keras.hub import keras_hub
from gregory.ml.config import BertConfig, SummariserConfig
from gregory.ml.errors import NoGpu
from gregory.ml.progress import silent
from gregory.ml.summarise import summarise_all
from gregory.ml.summarisers.bart import BartOnCTranslate2
from gregory.ml.trainers.bert import schedule_of
from gregory.ml.trainers.bert_encoder import build_network
from tests.ml.tiny_bart import WORDS, tiny_bart

# float32 has 24 bits, TF32 has 11. A sum of two thousand products loses a few of them.
MOST_DIFFERENCE = 1e-5
SIZE = 2048
REPEATS = 20
WAYS = {"TF32": True, "training": False}
# A training with a GPU that its process does not see.
HIDDEN = ("from gregory.ml import _keras", "_keras.prepare(threads=1, gpu_required=True)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of both models, and their work. The defaults are those of BART-large and BERT-base, at the limits of the specification."""

    bart_layers: int = 12
    bart_width: int = 1024
    bert_layers: int = 12
    bert_width: int = 768
    vocabulary: int = 50_265
    texts: int = 16
    words: int = 400


SMALL = Shape(bart_layers=1, bart_width=64, bert_layers=1, bert_width=24, vocabulary=300, texts=2, words=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One piece of work. gpu_bytes: what it took of the GPU and kept, 0 on a CPU. host_bytes: the peak of the process so far."""

    name: str
    compute: str
    seconds: float
    gpu_bytes: int
    host_bytes: int


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


def summarise(shape: Shape, *, new_tokens: int = 60) -> Work:
    """Summarise texts of random words, in float16 on a GPU."""
    generator = np.random.default_rng(69)
    texts = [" ".join(generator.choice(WORDS.split(), shape.words)) for _ in range(shape.texts)]
    config = SummariserConfig(max_new_tokens=new_tokens)
    before = _gpu_bytes()
    with TemporaryDirectory() as folder:
        bart = tiny_bart(
            Path(folder, "bart"), width=shape.bart_width, layers=shape.bart_layers, heads=shape.bart_width // 32, precision="float16",
            vocabulary_size=shape.vocabulary, positions=1_024, min_length=new_tokens, forced_eos_token=None,
        )  # fmt: skip
        summariser = BartOnCTranslate2(bart, config, threads=1)
    started = time.perf_counter()
    summarise_all(texts, summariser, batch_size=config.batch_size, report=silent)
    seconds = time.perf_counter() - started
    compute = f"{summariser.compute['device']}, {summariser.compute['compute_type']}"
    return _work(f"{shape.texts} summaries of {new_tokens} tokens", compute, seconds, before)


def train(shape: Shape) -> Work:
    """Train steps of BERT as a training does. The time is that of the second epoch, because the first one makes the graph."""
    device, config = _keras.device(), BertConfig()
    precision = "mixed_bfloat16" if device.has_bfloat16 else "float32"
    generator = np.random.default_rng(69)
    before = _gpu_bytes()
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=shape.vocabulary, num_layers=shape.bert_layers, num_heads=12, hidden_dim=shape.bert_width,
        intermediate_dim=4 * shape.bert_width, dtype=precision,
    )  # fmt: skip
    schedule = schedule_of(config.model_copy(update={"epochs": 1}), backbone, device, longest=shape.words)
    network = build_network(backbone, config)
    optimizer = _keras.Adam(config.learning_rate, gradient_accumulation_steps=schedule.accumulation_steps)
    network.compile(optimizer=optimizer, loss="categorical_crossentropy", jit_compile=False)
    examples = _keras.Encoded(
        token_ids=generator.integers(1, shape.vocabulary, (config.batch_size, shape.words)).tolist(),
        targets=np.eye(2, dtype=np.float32)[generator.integers(0, 2, config.batch_size)],
    )
    for _ in range(2):
        started = time.perf_counter()
        _keras.fit(network, train=examples, validation=examples, schedule=schedule, seed=69, report=silent)
        seconds = time.perf_counter() - started
    compute = f"{device.name}, {precision}, {schedule.examples_at_once} at once"
    return _work(f"BERT, one step and its validation, {config.batch_size} x {shape.words}", compute, seconds, before)


def error_without_gpu() -> str:
    """The last line of a training that requires a GPU and sees none."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", "\n".join(HIDDEN)], env=environment, capture_output=True, text=True, check=False)
    return (done.stderr.splitlines() or [""])[-1] if done.returncode else ""


def _work(name: str, compute: str, seconds: float, before: int) -> Work:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Work(name=name, compute=compute, seconds=seconds, gpu_bytes=_gpu_bytes() - before, host_bytes=peak)


def _gpu_bytes() -> int:
    """Bytes of the GPU in use, by all processes. TensorFlow and CTranslate2 keep what they have taken, so this is also their peak."""
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    try:
        failed = ctypes.CDLL("libcudart.so.12").cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
    except OSError:
        return 0
    return 0 if failed else total.value - free.value


def problems(measured: list[Measured]) -> list[str]:
    """A sentence for each computation of a training that is less exact than float32."""
    return [
        f"{each.computation}: a training differs by {each.difference:.1e}, more than {MOST_DIFFERENCE:.0e}: TF32 is in use"
        for each in measured
        if each.way == "training" and not each.difference <= MOST_DIFFERENCE
    ]


def main(arguments: Sequence[str] = ()) -> int:
    """Print the tables of this machine."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="tiny models: whether all works, and no figures")
    shape = SMALL if parser.parse_args(arguments).small else Shape()
    try:
        _keras.prepare(threads=1, seed=69, gpu_required=True)
    except NoGpu as error:
        print(f"nothing is measured: {error}")
        return 1
    print(_keras.device().name, flush=True)
    hidden = error_without_gpu()
    found = [] if "NoGpu: this run requires a GPU" in hidden else [f"a training that sees no GPU ended with: {hidden or 'success'}"]
    print(f"without a GPU: {hidden}\n\n| work | computed with | seconds | GPU, MiB | process, MiB |\n|---|---|---|---|---|", flush=True)
    for work in (summarise(shape), train(shape)):
        memory = f"{work.gpu_bytes / 2**20:.0f} | {work.host_bytes / 2**20:.0f}"
        print(f"| {work.name} | {work.compute} | {work.seconds:.3f} | {memory} |", flush=True)
        if work.name.endswith("tokens") and not work.compute.startswith("cuda"):
            found.append(f"CTranslate2 found no GPU: {work.compute}")
    measured = measure("GPU")
    print("\n| computation | way | largest difference | seconds |\n|---|---|---|---|")
    for each in measured:
        print(f"| {each.computation} | {each.way} | {each.difference:.1e} | {each.seconds:.4f} |")
    found += problems(measured)
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
