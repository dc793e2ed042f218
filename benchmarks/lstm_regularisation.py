"""Variants of the LSTM on the same splits, as a Markdown table: three regularisations, among them that of GregoryAI's class, and both
directions.

    python -m benchmarks.lstm_regularisation --data DIR [--subjects NAME ...] [--arms ARM ...] [--seeds 5] [--threads 2]

DIR contains CSV files with title, abstract and a label column. Texts are the title and the leading sentences of the abstract, up to
60 words. They are as long as a summary and need no summariser. docs/decisions/0003-lstm-regularisation.md has the result.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import children, ratios
from benchmarks.labelled_files import read
from gregory.ml.config import Hyperparameters, LstmConfig, SplitConfig
from gregory.ml.dataset import Dataset
from gregory.ml.metrics import measure
from gregory.ml.progress import silent
from gregory.ml.split import stratified
from gregory.ml.trainers.base import TrainerContext
from gregory.ml.trainers.lstm import LstmTrainer

SUBJECTS = ("drug_reviews/Antihistamines", "drug_reviews/ADHD", "gregory_ms_raw")
ARMS = {
    "L2 .01 everywhere, as the class has it": LstmConfig(embedding_l2=0.01),
    "without the embedding's L2 (the default)": LstmConfig(),
    "no L2 at all": LstmConfig(kernel_l2=0.0, recurrent_l2=0.0, dense_l2=0.0),
    "both directions (lstm.bidirectional)": LstmConfig(bidirectional=True),
}
WORDS = 60


def runs(dataset: Dataset, config: LstmConfig, *, seeds: int, threads: int) -> Iterator[dict[str, float]]:
    """One dict of test figures per split seed."""
    context = TrainerContext(encoder_dir=Path(), threads=threads, seed=SplitConfig().seed)
    for seed in range(seeds):
        split = stratified(dataset, SplitConfig(seed=seed))
        started = time.process_time()
        model = LstmTrainer(Hyperparameters(lstm=config), context).fit(split, report=silent)
        seconds = time.process_time() - started
        probabilities = model.predict_proba(split.test.texts)
        half, high = (measure(split.test.labels, probabilities, threshold) for threshold in (0.5, 0.8))
        yield {
            "roc_auc": half["roc_auc"],
            "highest": float(probabilities.max()),
            "f1@.5": half["f1"],
            "f1@.8": high["f1"],
            "seconds": seconds,
        }


def row(subject: str, arm: str, results: list[dict[str, float]]) -> str:
    """A line of the table: means over the seeds, with the standard deviation of the AUC. The time is that of all processors."""
    columns = {name: [result[name] for result in results] for name in results[0]}
    deviation = statistics.stdev(columns["roc_auc"]) if len(results) > 1 else 0.0
    mean = {name: statistics.fmean(values) for name, values in columns.items()}
    figures = (f"{mean[name]:.3f}" for name in ("highest", "f1@.5", "f1@.8"))
    return f"| {subject} | {arm} | {mean['roc_auc']:.3f} ± {deviation:.3f} | {' | '.join(figures)} | {mean['seconds']:.1f} |"


def main() -> None:
    """Print each line of the table when its result is ready."""
    parser = argparse.ArgumentParser(description="LSTM regularisation, compared on the same splits")
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled CSV files")
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS, help="files in it, without .csv")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=f"of: {', '.join(ARMS)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print("| data | variant | test ROC AUC | highest probability | f1@.5 | f1@.8 | processor, s |")
    print("|---|---|---|---|---|---|---|")
    for subject in options.subjects:
        dataset = read(options.data / f"{subject}.csv", words=WORDS)
        counts = dataset.counts()
        print(f"{subject}: {counts['relevant']} relevant, {counts['not_relevant']} not relevant", file=sys.stderr)
        of_class: list[dict[str, float]] = []
        for arm in options.arms:
            results = list(runs(dataset, ARMS[arm], seeds=options.seeds, threads=options.threads))
            print(row(Path(subject).name, arm, results), flush=True)
            of_class = of_class or results
            found = [ours["roc_auc"] / theirs["roc_auc"] for ours, theirs in zip(results, of_class, strict=True)]
            ratios.show(f"test ROC AUC, {Path(subject).name}: {arm}", found, baseline=options.arms[0])


if __name__ == "__main__":
    children.execute(main)
