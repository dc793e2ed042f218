"""Does our LightGBM reach the figures that were measured with the same parameters elsewhere? Over split seeds, as a Markdown table.

    python -m benchmarks.lightgbm_reference --data DIR [--seeds 5] [--threads 1]

The baseline (mean and deviation over five split seeds, title and whole abstract) is named in each row; one split of a few
dozen test rows says little, so the deviation over our own seeds stands beside it.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.labelled_files import read
from gregory.ml.config import Hyperparameters, SplitConfig
from gregory.ml.data import Dataset
from gregory.ml.metrics import measure
from gregory.ml.progress import silent
from gregory.ml.split import stratified
from gregory.ml.trainers.base import TrainerContext
from gregory.ml.trainers.lgbm import LgbmTrainer

# Test ROC AUC, mean and deviation, where somebody measured it.
BASELINES: dict[str, tuple[float, float] | None] = {
    "drug_reviews/ADHD": (0.960, 0.008),
    "drug_reviews/CalciumChannelBlockers": (0.837, 0.029),
    "gregory_ms_raw": (0.941, 0.020),
    "drug_reviews/Antihistamines": None,
}
TEXTS = {"title and abstract": None, "title and 60 words": 60}


def areas(dataset: Dataset, *, seeds: int, threads: int) -> Iterator[float]:
    """Test ROC AUC, one per split seed."""
    context = TrainerContext(encoder_dir=Path(), threads=threads, seed=SplitConfig().seed)
    for seed in range(seeds):
        split = stratified(dataset, SplitConfig(seed=seed))
        model = LgbmTrainer(Hyperparameters(), context).fit(split, report=silent)
        yield measure(split.test.labels, model.predict_proba(split.test.texts), 0.5)["roc_auc"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print("| data | texts | test ROC AUC | baseline | within 2 deviations |\n| --- | --- | --- | --- | --- |")
    for name, baseline in BASELINES.items():
        for texts, words in TEXTS.items():
            found = list(areas(read(options.data / f"{name}.csv", words=words), seeds=options.seeds, threads=options.threads))
            mean, deviation = statistics.mean(found), statistics.stdev(found)
            told = "none" if baseline is None else f"{baseline[0]:.3f} ± {baseline[1]:.3f}"
            verdict = "-" if baseline is None else "yes" if abs(mean - baseline[0]) <= 2 * baseline[1] else "no"
            print(f"| {name} | {texts} | {mean:.3f} ± {deviation:.3f} | {told} | {verdict} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
