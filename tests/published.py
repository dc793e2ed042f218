"""Version folders as a run publishes them, with invented content."""

import json
from datetime import UTC, datetime
from pathlib import Path

from gregory.ml import artifacts
from gregory.ml.artifacts import DataFacts, Manifest, Probe, Provenance
from gregory.ml.config import Algorithm, TrainConfig
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


def publish(models: Path, spec: RunSpec, *, position: int, run_log_id: int | None = None) -> Path:
    algorithm = spec.algorithms[position]
    staged = models / ".runs" / spec.run_id / f"staged-{position}"
    staged.mkdir(parents=True)
    (staged / "metrics.json").write_text(json.dumps({"test_f1": 0.25}))
    (staged / "evaluation.json").write_text('{"curve": [1]}')
    described = manifest(
        algorithm=algorithm.algorithm, run_id=spec.run_id, run_log_id=run_log_id or algorithm.run_log_id, created_at=datetime.now(UTC)
    )
    place = {"team": spec.team.slug, "subject": spec.subject.slug, "version": algorithm.version}
    provenance = described.provenance.model_copy(update=place)
    artifacts.write_manifest(staged, described.model_copy(update={"compute": {"device": "cpu"}, "provenance": provenance}))
    destination = artifacts.version_folder(
        models, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    artifacts.publish(staged, destination)
    return destination
