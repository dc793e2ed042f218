"""A sealed version folder for one algorithm of a run, as the run leaves it when it is published."""

import json
from datetime import UTC, datetime
from pathlib import Path

from gregory.ml import artifacts
from gregory.runs.spec import RunSpec
from tests.ml.test_artifacts import manifest


def publish(models: Path, spec: RunSpec, *, position: int, run_log_id: int | None = None) -> Path:
    algorithm = spec.algorithms[position]
    staged = models / ".runs" / spec.run_id / f"staged-{position}"
    staged.mkdir(parents=True)
    (staged / "metrics.json").write_text(json.dumps({"test_f1": 0.25}))
    (staged / "evaluation.json").write_text('{"curve": [1]}')
    sealed = manifest(
        algorithm=algorithm.algorithm, run_id=spec.run_id, run_log_id=run_log_id or algorithm.run_log_id, created_at=datetime.now(UTC)
    )
    artifacts.write_manifest(staged, sealed.model_copy(update={"compute": {"device": "cpu"}}))
    destination = artifacts.version_folder(
        models, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    artifacts.publish(staged, destination)
    return destination
