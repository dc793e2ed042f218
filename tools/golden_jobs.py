"""Golden Jobs: `job*.yaml` is the Job that `cluster*.yaml` produces for one run.

`python -m tools.golden_jobs` writes them anew.
"""

from datetime import UTC, datetime
from typing import Any

import yaml

from gregory.launch.kubernetes.cluster_config import load_cluster_config
from gregory.launch.kubernetes.manifest import render_job
from gregory.ml.config import TrainConfig
from gregory.runs.spec import AlgorithmSpec, PredictConfig, PredictSpec, RunSpec, Scope, TrainSpec, Window
from tools.installation import REPOSITORY

HERE = REPOSITORY / "tests" / "launch" / "kubernetes" / "golden"
CLUSTER_ID = "5f0c7a52-6d3c-4b3a-9a55-0d2f8b6e7c11"
# Golden Job -> its cluster file.
SOURCES = {"job.yaml": "cluster.yaml", "job-minimal.yaml": "cluster-minimal.yaml", "job-predict.yaml": "cluster.yaml"}
SPEC = TrainSpec(
    run_id="0123456789ab",
    attempt=2,
    attempt_token="00112233445566778899aabbccddeeff",
    team=Scope(id=1, slug="neurology"),
    subject=Scope(id=2, slug="migräne-prävention"),
    algorithms=(
        AlgorithmSpec(algorithm="pubmed_bert", run_log_id=11, version="20260801"),
        AlgorithmSpec(algorithm="lgbm_tfidf", run_log_id=12, version="20260801_2"),
    ),
    config=TrainConfig(),
    window=Window(cutoff=datetime(2026, 5, 3, tzinfo=UTC), description="the last 90 days"),
    require_gpu=True,
)


PREDICTION = PredictSpec(
    **{name: getattr(SPEC, name) for name in ("run_id", "attempt", "attempt_token", "team", "subject", "window", "require_gpu")},
    algorithms=SPEC.algorithms[1:],
    digests={"lgbm_tfidf": "0" * 64},
    config=PredictConfig(threshold="best-f1"),
)
SPECS: dict[str, RunSpec] = {"job-predict.yaml": PREDICTION}


def rendered(job: str) -> dict[str, Any]:
    return render_job(SPECS.get(job, SPEC), load_cluster_config(HERE / SOURCES[job]), cluster_id=CLUSTER_ID)


def as_yaml(job: dict[str, Any]) -> str:
    return yaml.safe_dump(job, sort_keys=False, allow_unicode=True, width=100_000)


def main() -> None:
    """Write every golden Job again."""
    for job in SOURCES:
        (HERE / job).write_text(as_yaml(rendered(job)), encoding="utf-8")


if __name__ == "__main__":
    main()
