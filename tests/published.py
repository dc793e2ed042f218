"""Version folders as a run publishes them, with invented content."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from gregory.ml import artifacts
from gregory.ml.config import Algorithm, TrainConfig
from gregory.ml.evaluator import evaluate
from gregory.ml.manifest import DataFacts, Manifest, Probe, Provenance
from gregory.ml.metrics import flat
from gregory.ml.predictions import PartName, Prediction, text_hash, write_predictions
from gregory.ml.stages import contract
from gregory.ml.text import TEXT_VERSION
from gregory.runs.spec import RunSpec


def manifest(
    *,
    algorithm: Algorithm = "lgbm_tfidf",
    run_id: str = "run",
    run_log_id: int = 1,
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> Manifest:
    """A manifest before it gets its files."""
    return Manifest(
        algorithm=algorithm,
        provenance=Provenance(
            team="team",
            subject="subject",
            version="20260101",
            run_id=run_id,
            attempt=1,
            run_log_id=run_log_id,
            cutoff=None,
            window="all articles",
            image_digest="",
        ),
        created_at=created_at,
        config=TrainConfig(),
        data=DataFacts(
            cutoff=None, window="all articles", labelled=9, title_only=0, duplicates=0, conflicts=0, pseudo_labelled=0,
            parts={"train": {"relevant": 3, "not_relevant": 6}}, fingerprint="f", text_version=TEXT_VERSION,
        ),
        base_models={},
        libraries={"numpy": "1"},
        threads=1,
        warnings=(),
        probe=Probe(texts=("a", "b"), probabilities=(0.25, 0.75)),
    )  # fmt: skip


def complete_model(folder: Path, spec: RunSpec, *, position: int, run_log_id: int | None = None) -> Manifest:
    """Write a complete model of a row into a folder that has no version name yet."""
    algorithm = spec.algorithms[position]
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"test_f1": 0.25}))
    (folder / "evaluation.json").write_text('{"curve": [1]}')
    described = manifest(
        algorithm=algorithm.algorithm, run_id=spec.run_id, run_log_id=run_log_id or algorithm.run_log_id, created_at=datetime.now(UTC)
    )
    place = {"team": spec.team.slug, "subject": spec.subject.slug, "version": algorithm.version}
    provenance = described.provenance.model_copy(update=place)
    return artifacts.write_manifest(folder, described.model_copy(update={"compute": {"device": "cpu"}, "provenance": provenance}))


def finished_training(stages: Path, spec: RunSpec, *, position: int) -> Path:
    """The output of a train stage whose model is not published yet."""
    out = stages / f"train-{spec.algorithms[position].algorithm}" / "out"
    described = complete_model(out / contract.MODEL_FOLDER, spec, position=position)
    result = contract.TrainResult(metrics={"test_f1": 0.25}, warnings=(), data=described.data, compute={"device": "cpu"})
    (out / contract.RESULT).write_text(result.model_dump_json())
    return out


def publish(models: Path, spec: RunSpec, *, position: int, run_log_id: int | None = None) -> Path:
    algorithm = spec.algorithms[position]
    staged = spec.folder(models).path / f"staged-{position}"
    complete_model(staged, spec, position=position, run_log_id=run_log_id)
    destination = artifacts.version_folder(
        models, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    artifacts.publish(staged, destination)
    return destination


def answering_model(folder: Path, version: str, answers: Callable[[int], float]) -> None:
    """A version of lgbm_tfidf that has learned from articles 0 to 39 and answers articles 40 to 79. Even numbers are relevant.

    No process can ask it about other texts.
    """
    numbers = range(40, 80)
    (folder / version).mkdir(parents=True)
    learned = (_prediction(number, "train", None) for number in range(40))
    write_predictions(folder / version, (*learned, *(_prediction(number, "test", answers(number)) for number in numbers)))
    scored = np.array([1 - number % 2 for number in numbers], dtype=np.int8), np.array([answers(number) for number in numbers])
    evaluation = evaluate(validation=scored, test=scored, threshold=0.8, history=[])
    (folder / version / artifacts.EVALUATION).write_text(evaluation.encode())
    metrics = flat(evaluation.validation.metrics, evaluation.test.metrics, evaluation.threshold)
    (folder / version / artifacts.METRICS).write_text(json.dumps(metrics))
    described = manifest()
    provenance = described.provenance.model_copy(update={"version": version})
    artifacts.write_manifest(folder / version, described.model_copy(update={"provenance": provenance}))


def _prediction(number: int, part: PartName, probability: float | None) -> Prediction:
    digest = text_hash(f"text {number}")
    return Prediction(article_id=number, part=part, label=1 - number % 2, pseudo_label=False, probability=probability, text_hash=digest)
