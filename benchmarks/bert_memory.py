"""Peak memory of one training step of an encoder with the size of BERT-base: 16 texts of 400 tokens, by examples in memory at once.

    python -m benchmarks.bert_memory [--size base] [--rows 4] [--threads 2]

The weights of the encoder are random, so no download is needed. Each step runs twice, in processes of their own. The first run uses
Adam, for the peak (VmHWM). The second has no dropout and settings of Adam with which the step is the gradient. Its difference from the
gradient of the whole batch is the error of micro-batches.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import children, ratios
from gregory.ml.trainers.bert_memory import EncoderSize, step_bytes

BATCH, LENGTH, VOCABULARY = 16, 400, 30_522
SIZES = {
    "base": EncoderSize(layers=12, heads=12, hidden=768, inner=3072, parameters=109_482_240),
    "minilm": EncoderSize(layers=6, heads=12, hidden=384, inner=1536, parameters=22_713_216),
}


def step(size: EncoderSize, *, rows: int, threads: int, weights_to: Path | None) -> int:
    """Train one step in this process and return its peak in bytes.

    With `weights_to` the step is the gradient without dropout, and the weights are written to that file.
    """
    from gregory.ml import _keras
    from gregory.ml._keras.hub import keras_hub
    from gregory.ml.config import BertConfig
    from gregory.ml.progress import silent
    from gregory.ml.trainers import bert_encoder

    _keras.prepare(threads=threads, seed=69)
    exact = weights_to is not None
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=size.layers,
        num_heads=size.heads,
        hidden_dim=size.hidden,
        intermediate_dim=size.inner,
        dropout=0.0 if exact else 0.1,
    )
    bert_encoder.keep_less(backbone)
    network = bert_encoder.build_network(backbone, BertConfig(dropout=0.0) if exact else BertConfig())
    schedule = _keras.Schedule(epochs=1, batch_size=BATCH, patience=1, micro_batch=rows)
    # Without momentum, and with an epsilon of the size of the rate, the first update of Adam is the gradient.
    settings = {"learning_rate": 1e6, "beta_1": 0.0, "beta_2": 0.0, "epsilon": 1e6} if exact else {"learning_rate": 2e-5}
    optimiser = _keras.Adam(**settings, gradient_accumulation_steps=schedule.accumulation_steps)
    network.compile(optimizer=optimiser, loss="categorical_crossentropy", jit_compile=False)
    generator = np.random.default_rng(69)
    train, validation = (
        _keras.Encoded(
            token_ids=generator.integers(1, VOCABULARY, (count, LENGTH)).tolist(),
            targets=np.eye(2, dtype=np.float32)[generator.integers(0, 2, count)],
        )
        for count in (BATCH, 1)
    )
    # A training has a checkpoint. Without one, a copy of the best weights is in memory.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "fit")
        _keras.fit(network, train=train, validation=validation, schedule=schedule, seed=69, report=silent, checkpoint_file=file)
    if weights_to is not None:
        np.savez(weights_to, *network.get_weights())
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def in_a_process(size: str, rows: int, threads: int, weights_to: Path | None = None) -> int:
    """Run `step` in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.bert_memory", "--size", size, "--threads", str(threads), "--worker", str(rows)]
    argv += ["--weights-to", str(weights_to)] if weights_to else []
    done = children.run(argv, capture_output=True, check=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def largest_difference(one: Path, other: Path) -> float:
    """The largest difference between two files of weights."""
    with np.load(one) as mine, np.load(other) as theirs:
        return max(float(np.abs(mine[name] - theirs[name]).max()) for name in mine)


def line(size: EncoderSize, rows: int, peak: int, difference: str) -> str:
    """A line of the table, with the estimate."""
    estimate = step_bytes(size, examples=rows, length=LENGTH, is_gpu=False)
    return f"| {rows} | {peak / 2**20:.0f} | {estimate / 2**20:.0f} | {difference} |"


def main() -> None:
    """Print one line per number of examples."""
    parser = argparse.ArgumentParser(description="memory of BERT's training step")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--rows", nargs="+", type=int, default=[4], help="examples at once, beside the whole batch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--weights-to", type=Path, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    size = SIZES[options.size]
    if options.worker:
        print(step(size, rows=options.worker, threads=options.threads, weights_to=options.weights_to))
        return
    print("| examples at once | peak, MiB | estimated, MiB | largest difference of a gradient to the whole batch's |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        whole, mine = Path(folder, "whole.npz"), Path(folder, "mine.npz")
        in_a_process(options.size, BATCH, options.threads, whole)
        whole_peak = in_a_process(options.size, BATCH, options.threads)
        print(line(size, BATCH, whole_peak, "-"), flush=True)
        for rows in options.rows:
            in_a_process(options.size, rows, options.threads, mine)
            peak = in_a_process(options.size, rows, options.threads)
            print(line(size, rows, peak, f"{largest_difference(mine, whole):.1e}"), flush=True)
            figure = f"peak memory, {options.size}, {rows} x {LENGTH} tokens at once"
            ratios.show(figure, [whole_peak / peak], baseline=f"{BATCH} at once")


if __name__ == "__main__":
    children.execute(main)
