"""Self-training: BERT labels texts without a review, and only labels with a high probability are accepted.

Each round fits a new model on the labelled and the accepted texts and predicts the remaining texts of the pool. The accepted texts
leave the pool. A text of the pool that is also in the labelled data is left out. So no validation text and no test text can become
training data.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gregory.ml.config import PseudoLabelConfig
from gregory.ml.dataset import Example, UnlabelledText
from gregory.ml.progress import Progress, Report
from gregory.ml.progress_log import ProgressLog, work_digest
from gregory.ml.split import Split
from gregory.ml.spreadsheet import as_cell
from gregory.ml.trainers.base import Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabel:
    """An accepted text. confidence: probability of its class. round: counted from 1."""

    example: Example
    confidence: float
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One fit and its accepted labels. asked: number of predicted texts."""

    asked: int
    accepted: tuple[PseudoLabel, ...]


def self_train(
    trainer: Trainer,
    split: Split,
    pool: Sequence[UnlabelledText],
    config: PseudoLabelConfig,
    *,
    report: Report,
    resume_dir: Path | None = None,
) -> list[Round]:
    """Run the rounds in order. It ends after a round without accepted texts, with an empty pool, or after the last round.

    resume_dir: folder of the completed rounds and of the current fit; an interrupted self-training continues from it.
    """
    remaining = _usable(split, pool)
    report(Progress(message=f"pool of {len(pool)} unlabelled articles, {len(remaining)} with a unique, unlabelled text"))
    progress_log = ProgressLog(resume_dir / "rounds.jsonl" if resume_dir else None, work=_work_digest(split, remaining, config))
    rounds: list[Round] = []
    for number in range(1, config.max_iterations + 1):
        if not remaining:
            break
        if number > len(progress_log.entries):
            accepted = [label.example for done in rounds for label in done.accepted]
            checkpoint = resume_dir / f"round-{number}.npz" if resume_dir else None
            answers = _predict(
                trainer, split.with_more_training(accepted), remaining, checkpoint, _within(report, number, config.max_iterations)
            )
            progress_log.append(_confident(answers, config.confidence_threshold))
            if checkpoint is not None:
                checkpoint.unlink(missing_ok=True)
        done = Round(
            asked=len(remaining),
            accepted=tuple(
                _label(remaining[position], probability=probability, round=number)
                for position, probability in progress_log.entries[number - 1]
            ),
        )
        message = f"round {number}: accepted {len(done.accepted)} of {done.asked} texts"
        report(Progress(message=message, fraction=number / config.max_iterations))
        rounds.append(done)
        if not done.accepted:
            break
        taken = {label.example.text for label in done.accepted}
        remaining = [item for item in remaining if item.text not in taken]
    return rounds


def write_csv(path: Path, labels: Sequence[PseudoLabel]) -> None:
    """Write the file for people: article_id, text, label, confidence, round."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["article_id", "text", "label", "confidence", "round"])
        for label in labels:
            example = label.example
            writer.writerow([example.article_id, as_cell(example.text), example.label, f"{label.confidence:.6f}", label.round])


def _predict(
    trainer: Trainer, split: Split, texts: Sequence[UnlabelledText], checkpoint: Path | None, report: Report
) -> NDArray[np.float64]:
    """Probabilities of a new model. It is freed on return, because two networks with their moments may not fit into memory."""
    return trainer.fit(split, report=report, checkpoint=checkpoint).predict_proba([item.text for item in texts])


def _confident(probabilities: NDArray[np.float64], threshold: float) -> list[tuple[int, float]]:
    """Positions and probabilities of the texts with a confident prediction of one of the classes."""
    sure = np.maximum(probabilities, 1 - probabilities) >= threshold
    return [(int(position), float(probabilities[position])) for position in np.flatnonzero(sure)]


def _label(item: UnlabelledText, *, probability: float, round: int) -> PseudoLabel:
    label = int(probability >= 0.5)
    example = Example(article_id=item.article_id, text=item.text, label=label)
    return PseudoLabel(example=example, confidence=probability if label else 1 - probability, round=round)


def _work_digest(split: Split, remaining: Sequence[UnlabelledText], config: PseudoLabelConfig) -> str:
    labels = json.dumps([split.train.labels.tolist(), split.validation.labels.tolist()])
    texts = chain(split.train.texts, split.validation.texts, (item.text for item in remaining))
    return work_digest(config.model_dump_json(), labels, texts=texts)


def _usable(split: Split, pool: Sequence[UnlabelledText]) -> list[UnlabelledText]:
    seen = {*split.train.texts, *split.validation.texts, *split.test.texts}
    unique: dict[str, UnlabelledText] = {}
    for item in pool:
        if item.text and item.text not in seen:
            unique.setdefault(item.text, item)
    return list(unique.values())


def _within(report: Report, number: int, rounds: int) -> Report:
    """Report the progress of one round as a part of all rounds."""

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
