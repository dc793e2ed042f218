"""Version folders as a run publishes them, with invented content."""

import json
from datetime import UTC, datetime
from pathlib import Path

from gregory.ml import artifacts
from gregory.ml.artifacts import DataFacts, Manifest, Probe, Provenance
from gregory.ml.config import Algorithm, TrainConfig
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
            cutoff=None, window="all articles", labelled=9, title_only=0, duplicates=0, conflicts=0, pseudo_labelled=0, parts={},
            fingerprint="f", text_version=TEXT_VERSION,
        ),
        base_models={},
        libraries={"numpy": "1"},
        threads=1,
        warnings=(),
        probe=Probe(texts=("a", "b"), probabilities=(0.25, 0.75)),
    )  # fmt: skip


def complete_model(folder: Path, spec: RunSpec, *, position: int, run_log_id: int | None = None) -> artifacts.Manifest:
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
    staged = models / ".runs" / spec.run_id / f"staged-{position}"
    complete_model(staged, spec, position=position, run_log_id=run_log_id)
    destination = artifacts.version_folder(
        models, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    artifacts.publish(staged, destination)
    return destination
