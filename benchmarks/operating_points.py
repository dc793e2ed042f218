"""Thresholds chosen on the validation part, and what they select on the test part, as a Markdown table.

    python -m benchmarks.operating_points --data DIR [--subjects NAME ...] [--algorithms NAME ...] [--seeds N] [--encoder DIR]

DIR contains CSV files with title, abstract and a label column. Texts are the title and the leading sentences of the abstract, up to
60 words. pubmed_bert needs the folder of an encoder.
"""

import argparse
from pathlib import Path

from benchmarks import children, ratios
from benchmarks.labelled_files import read
from gregory.ml.baseline import NAME, baseline
from gregory.ml.config import Hyperparameters, SplitConfig
from gregory.ml.evaluation import Evaluation, OperatingPoint
from gregory.ml.evaluator import evaluate
from gregory.ml.operating_points import rank
from gregory.ml.progress import silent
from gregory.ml.ranking import groups
from gregory.ml.registry import trainer_class
from gregory.ml.split import Split, stratified
from gregory.ml.trainers.base import TrainerContext

SUBJECTS = ("drug_reviews/ADHD", "drug_reviews/Antihistamines", "drug_reviews/ProtonPumpInhibitors", "gregory_ms_raw")
CHOICES = ("0.8", "best-f1", "recall=0.95")
WORDS = 60


def line(subject: str, name: str, split: Split, evaluation: Evaluation) -> str:
    """A line of the table: found and selected articles of each choice."""
    points = {point.choice: point for point in evaluation.operating_points}
    cells = [_selected(points[choice]) for choice in CHOICES]
    test, ranking = split.test.counts(), evaluation.ranking
    assert ranking is not None
    found = [f"{ranking.roc_auc.value:.3f}", f"{test['relevant']} of {len(split.test.texts)}", *cells, f"{ranking.read.value:.0f}"]
    return f"| {subject} | {name} | {' | '.join(found)} |"


def _selected(point: OperatingPoint) -> str:
    return f"{point.found.value:.0f} in {point.selected.value:.0f} ({point.threshold.value:.2f})"


def main() -> None:
    """Print each line of the table when its result is ready."""
    parser = argparse.ArgumentParser(description="operating points of the algorithms")
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled CSV files")
    parser.add_argument("--subjects", nargs="+", default=SUBJECTS, help="files in it, without .csv")
    parser.add_argument("--algorithms", nargs="+", default=["lgbm_tfidf", "lstm"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[SplitConfig().seed])
    parser.add_argument("--encoder", type=Path, default=Path())
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(f"| data | model | ROC AUC | relevant | found at {CHOICES[0]} | at best f1 | at 95 % recall | to read for 95 % |")
    print("|---|---|---|---|---|---|---|---|")
    for subject in options.subjects:
        dataset = read(options.data / f"{subject}.csv", words=WORDS)
        for seed in options.seeds:
            split = stratified(dataset, SplitConfig(seed=seed))
            areas: dict[str, float] = {}
            for algorithm in options.algorithms:
                context = TrainerContext(encoder_dir=options.encoder, threads=options.threads, seed=SplitConfig().seed)
                model = trainer_class(algorithm)(Hyperparameters(), context).fit(split, report=silent)
                evaluation = evaluate(
                    validation=(split.validation.labels, model.predict_proba(split.validation.texts)),
                    test=(split.test.labels, model.predict_proba(split.test.texts)),
                    threshold=0.8,
                    history=[],
                )
                print(line(f"{Path(subject).name}, seed {seed}", algorithm, split, evaluation), flush=True)
                if evaluation.ranking is not None:
                    areas[algorithm] = evaluation.ranking.roc_auc.value
            probabilities = baseline(split.train, split.test.texts)
            if probabilities is not None:
                ranking = rank(groups(split.test.labels, probabilities))
                print(
                    f"| {Path(subject).name}, seed {seed} | {NAME} | {ranking.roc_auc.value:.3f} | | | | | {ranking.read.value:.0f} |",
                    flush=True,
                )
                for algorithm, area in areas.items():
                    found = [area / ranking.roc_auc.value]
                    ratios.show(f"test ROC AUC, {Path(subject).name}, seed {seed}: {algorithm}", found, baseline=NAME)


if __name__ == "__main__":
    children.execute(main)
