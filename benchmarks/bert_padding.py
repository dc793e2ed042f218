"""One epoch of BERT with batches padded to their longest member against padding to the full length, on the same batches.

    python -m benchmarks.bert_padding --data DIR [--encoder base_models/encoder] [--epochs 3] [--threads 2]

DIR holds labelled CSV files. Dropout is off, so that the validation losses of both arms can be compared. An epoch is timed from the
second on, with its validation: the first also builds the graph.
"""

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.labelled_files import read
from gregory.ml.config import BertConfig, Hyperparameters, SplitConfig
from gregory.ml.progress import Progress
from gregory.ml.split import Split, stratified
from gregory.ml.trainers.base import TrainerContext
from gregory.ml.trainers.bert import BertTrainer

SUBJECT = "drug_reviews/Antihistamines"
TEXTS = {"title + leading sentences (60 words)": 60, "title + whole abstract": None}
BASELINE, OURS = "max_length", "longest"


def fit(split: Split, context: TrainerContext, *, padding: str, epochs: int) -> tuple[list[float], list[float]]:
    """Seconds of each epoch but the first, and the validation loss of each."""
    config = BertConfig.model_validate(
        {"padding": padding, "epochs": epochs, "patience": epochs, "dropout": 0.0, "encoder_dropout": 0.0, "precision": "float32"}
    )
    ends: list[float] = []

    def report(progress: Progress) -> None:
        if "val_loss" in progress.figures:
            ends.append(time.perf_counter())

    model = BertTrainer(Hyperparameters(bert=config), context).fit(split, report=report)
    return [later - earlier for earlier, later in pairwise(ends)], [epoch["val_loss"] for epoch in model.history]


def main() -> None:
    """Print one line per kind of text."""
    parser = argparse.ArgumentParser(description="BERT epochs, padded to the longest of a batch and to the full length")
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled CSV files")
    parser.add_argument("--encoder", type=Path, default=Path("base_models/encoder"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    context = TrainerContext(encoder_dir=options.encoder, threads=options.threads, seed=SplitConfig().seed)
    print("| texts | full length, s/epoch | longest of the batch, s/epoch | ratio | largest difference of validation losses |")
    print("|---|---|---|---|---|")
    for name, words in TEXTS.items():
        split = stratified(read(options.data / f"{SUBJECT}.csv", words=words), SplitConfig())
        seconds, losses = zip(*(fit(split, context, padding=padding, epochs=options.epochs) for padding in (BASELINE, OURS)), strict=True)
        medians = [statistics.median(arm) for arm in seconds]
        apart = max(abs(one - other) for one, other in zip(*losses, strict=True))
        print(f"| {name} | {medians[0]:.1f} | {medians[1]:.1f} | {medians[0] / medians[1]:.2f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
