"""Self-training: BERT labels the texts nobody reviewed, and keeps only what it is sure of.

Each round fits a fresh model on the labelled and the accepted texts, asks it about what is left of the pool, and moves
the confident answers over. A pool text that also stands in the labelled data is never asked, so that no validation or
test text can come back as training data.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gregory.ml.config import PseudoLabelConfig
from gregory.ml.data import Example, UnlabelledText
from gregory.ml.progress import Progress, Report
from gregory.ml.split import Split
from gregory.ml.trainers.base import Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabel:
    """An accepted text; confidence: probability of the class it was given; round: counted from 1."""

    example: Example
    confidence: float
    round: int


def self_train(
    trainer: Trainer, split: Split, pool: Sequence[UnlabelledText], config: PseudoLabelConfig, *, report: Report
) -> list[list[PseudoLabel]]:
    """The accepted texts, round by round; ends when a round accepts none, the pool is empty, or rounds run out."""
    remaining = _askable(split, pool)
    report(Progress(message=f"pool of {len(pool)} unlabelled articles, {len(remaining)} with a text of their own"))
    rounds: list[list[PseudoLabel]] = []
    accepted: list[Example] = []
    for number in range(1, config.max_iterations + 1):
        if not remaining:
            break
        model = trainer.fit(split.with_more_training(accepted), report=_within(report, number, config.max_iterations))
        probabilities = model.predict_proba([item.text for item in remaining])
        del model  # the next round fits a new one: two networks and their moments need not fit into memory
        confidence = np.maximum(probabilities, 1 - probabilities)
        taken = [
            PseudoLabel(
                example=Example(article_id=item.article_id, text=item.text, label=int(probability >= 0.5)),
                confidence=float(sure),
                round=number,
            )
            for item, probability, sure in zip(remaining, probabilities, confidence, strict=True)
            if sure >= config.confidence_threshold
        ]
        report(
            Progress(message=f"round {number}: accepted {len(taken)} of {len(remaining)} texts", fraction=number / config.max_iterations)
        )
        rounds.append(taken)
        if not taken:
            break
        accepted += [label.example for label in taken]
        taken_texts = {label.example.text for label in taken}
        remaining = [item for item in remaining if item.text not in taken_texts]
    return rounds


def write_csv(path: Path, labels: Sequence[PseudoLabel]) -> None:
    """The file people look at: article_id, text, label, confidence, round."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["article_id", "text", "label", "confidence", "round"])
        for label in labels:
            writer.writerow([label.example.article_id, label.example.text, label.example.label, f"{label.confidence:.6f}", label.round])


def _askable(split: Split, pool: Sequence[UnlabelledText]) -> list[UnlabelledText]:
    seen = {*split.train.texts, *split.validation.texts, *split.test.texts}
    unique: dict[str, UnlabelledText] = {}
    for item in pool:
        if item.text and item.text not in seen:
            unique.setdefault(item.text, item)
    return list(unique.values())


def _within(report: Report, number: int, rounds: int) -> Report:
    """Progress of one round as a share of all rounds."""

    def scaled(progress: Progress) -> None:
        fraction = None if progress.fraction is None else (number - 1 + progress.fraction) / rounds
        report(
            Progress(
                message=f"round {number}: {progress.message}",
                fraction=fraction,
                epoch=progress.epoch,
                figures=progress.figures,
                warning=progress.warning,
            )
        )

    return scaled
