"""The ROC AUC of this project's LightGBM and a baseline with the same parameters, over split seeds, as a Markdown table.

    python -m benchmarks.lightgbm_reference --data DIR [--seeds 5] [--threads 1]

The baseline was measured over five other splits of title and whole abstract. With some dozen test articles, the result of a single
split varies by several points. So the table has the difference of the two means in standard errors. More than 2 is significant.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import children, ratios
from benchmarks.labelled_files import read
from gregory.ml.config import Hyperparameters, SplitConfig
from gregory.ml.dataset import Dataset
from gregory.ml.metrics import measure
from gregory.ml.progress import silent
from gregory.ml.split import stratified
from gregory.ml.trainers.base import TrainerContext
from gregory.ml.trainers.lgbm import LgbmTrainer

# Test ROC AUC: mean and deviation, or None if it was not measured.
BASELINES: dict[str, tuple[float, float] | None] = {
    "drug_reviews/ADHD": (0.960, 0.008),
    "drug_reviews/CalciumChannelBlockers": (0.837, 0.029),
    "gregory_ms_raw": (0.941, 0.020),
    "drug_reviews/Antihistamines": None,
}
BASELINE_SEEDS = 5
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
    print("| data | texts | test ROC AUC | baseline | difference in standard errors |\n| --- | --- | --- | --- | --- |")
    for name, baseline in BASELINES.items():
        for texts, words in TEXTS.items():
            found = list(areas(read(options.data / f"{name}.csv", words=words), seeds=options.seeds, threads=options.threads))
            mean, deviation = statistics.mean(found), statistics.stdev(found)
            expected, apart = "-", "-"
            if baseline is not None and words is None:
                expected = f"{baseline[0]:.3f} ± {baseline[1]:.3f}"
                error = math.sqrt(deviation**2 / len(found) + baseline[1] ** 2 / BASELINE_SEEDS)
                apart = f"{(mean - baseline[0]) / error:+.1f}"
                ratios.show(f"test ROC AUC, {name}", [one / baseline[0] for one in found], baseline="published mean")
            print(f"| {name} | {texts} | {mean:.3f} ± {deviation:.3f} | {expected} | {apart} |")
            sys.stdout.flush()


if __name__ == "__main__":
    children.execute(main)
