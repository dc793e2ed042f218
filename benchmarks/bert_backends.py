"""Seconds per epoch of the same network and code on TensorFlow and on another Keras backend.

    pip install jax    # or another backend, which is not in the requirements
    python -m benchmarks.bert_backends --data DIR [--backends tensorflow jax] [--encoder base_models/encoder] [--threads 2]

The import of Keras selects the backend, so each backend has a process. Texts are padded to the full length (128 tokens), because
compilers like JAX's build a program for every shape. The time is that of the second epoch with its validation. The first compiles.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks import children, ratios
from benchmarks.labelled_files import read
from gregory.ml.config import BertConfig, Hyperparameters, SplitConfig
from gregory.ml.progress import Progress
from gregory.ml.split import stratified
from gregory.ml.trainers.base import TrainerContext

SUBJECT = "drug_reviews/Antihistamines"
WORDS = 60


def measure(data: Path, encoder: Path, threads: int) -> tuple[float, float]:
    """Seconds of the second epoch and its validation loss, on the backend of this process."""
    from gregory.ml.trainers.bert import BertTrainer

    config = BertConfig(
        epochs=2, max_length=128, padding="max_length", dropout=0.0, encoder_dropout=0.0, precision="float32", micro_batch=16
    )
    ends: list[float] = []

    def report(progress: Progress) -> None:
        if "val_loss" in progress.figures:
            ends.append(time.perf_counter())

    split = stratified(read(data / f"{SUBJECT}.csv", words=WORDS), SplitConfig())
    context = TrainerContext(encoder_dir=encoder, threads=threads, seed=SplitConfig().seed)
    model = BertTrainer(Hyperparameters(bert=config), context).fit(split, report=report)
    return ends[1] - ends[0], model.history[1]["val_loss"]


def main() -> None:
    """Print one line per backend."""
    parser = argparse.ArgumentParser(description="BERT epochs on several Keras backends")
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled CSV files")
    parser.add_argument("--encoder", type=Path, default=Path("base_models/encoder"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(*measure(options.data, options.encoder, options.threads))
        return
    print("| backend | s/epoch | ratio | validation loss |")
    print("|---|---|---|---|")
    baseline = None
    for backend in options.backends:
        argv = [sys.executable, "-m", "benchmarks.bert_backends", "--worker", "--data", options.data, "--encoder", options.encoder]
        environment = {**os.environ, "KERAS_BACKEND": backend}
        argv += ["--threads", str(options.threads)]
        done = children.run(argv, capture_output=True, check=True, env=environment)
        seconds, loss = map(float, done.stdout.split())
        baseline = baseline or seconds
        print(f"| {backend} | {seconds:.1f} | {baseline / seconds:.2f} | {loss:.5f} |", flush=True)
        ratios.show(f"wall time of an epoch, {backend}", [baseline / seconds], baseline=options.backends[0])


if __name__ == "__main__":
    children.execute(main)
