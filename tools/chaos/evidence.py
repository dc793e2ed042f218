"""State of a run at the end, read from the tables, the volume and the cluster."""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError
from tools.chaos.chaos_env import ChaosEnv, Row, Run
from tools.chaos.faults import Strike
from tools.cluster.cluster import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Marks of one algorithm in one attempt.

    begun: number of times that the training began. done: whether its result was complete.
    """

    attempt: int
    algorithm: str
    begun: int
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Job of the cluster."""

    name: str
    run_id: str
    attempt: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence of one script.

    runs: the runs of the subject, normally one. complete: ids of the rows with a complete model folder.
    """

    strike: Strike
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    complete: frozenset[int]
    trainings: tuple[Training, ...]
    overlaps: int
    jobs: tuple[Job, ...]


def collect(chaos_env: ChaosEnv, strikes: list[Strike]) -> list[Evidence]:
    """The evidence of every script."""
    runs, rows, jobs = defaultdict(list), defaultdict(list), defaultdict(list)
    for run in chaos_env.runs():
        runs[run.label].append(run)
    for row in chaos_env.rows():
        rows[row.run_id].append(row)
    for job in jobs_of(chaos_env.cluster, chaos_env.cluster_namespace.namespace):
        jobs[job.run_id].append(job)
    complete = _complete(chaos_env)
    found = []
    for strike in strikes:
        here = tuple(runs[strike.script.label])
        of_these = [run.run_id for run in here]
        mine = tuple(row for run_id in of_these for row in rows[run_id])
        found.append(
            Evidence(
                strike=strike,
                runs=here,
                rows=mine,
                complete=frozenset(row.id for row in mine) & complete,
                trainings=tuple(training for run_id in of_these for training in _trainings(chaos_env, run_id)),
                overlaps=sum(len(list((chaos_env.marks / run_id).glob("*.overlap"))) for run_id in of_these),
                jobs=tuple(job for run_id in of_these for job in jobs[run_id]),
            )
        )
    return found


def jobs_of(cluster: Cluster, namespace: str) -> list[Job]:
    """Every Job of the namespace."""
    return [_job(job) for job in cluster.get("jobs", "--namespace", namespace)["items"]]


def _job(job: dict[str, Any]) -> Job:
    labels = job["metadata"]["labels"]
    conditions = job.get("status", {}).get("conditions") or []
    finished = any(condition["type"] in ("Complete", "Failed") and condition["status"] == "True" for condition in conditions)
    return Job(
        name=job["metadata"]["name"],
        run_id=labels["gregory-train/run-id"],
        attempt=int(labels["gregory-train/attempt"]),
        finished=finished,
    )


def _complete(chaos_env: ChaosEnv) -> frozenset[int]:
    """Row ids in the manifests of complete folders."""
    found = set()
    for folder in artifacts.version_folders(chaos_env.models):
        try:
            manifest = artifacts.read_manifest(folder)
        except ArtifactError:
            continue
        if not artifacts.verify(folder) and not artifacts.misplaced(folder):
            found.add(manifest.provenance.run_log_id)
    return frozenset(found)


def _trainings(chaos_env: ChaosEnv, run_id: str) -> list[Training]:
    found = []
    for begun in sorted((chaos_env.marks / run_id).glob("*.begun")):
        attempt, _, algorithm = begun.stem.partition("-")
        times = len(begun.read_text().splitlines())
        found.append(Training(attempt=int(attempt), algorithm=algorithm, begun=times, done=begun.with_suffix(".done").exists()))
    return found


def as_json(evidence: Evidence) -> str:
    """All evidence as text, for the analysis of a violation."""
    return json.dumps(
        {
            "script": str(evidence.strike),
            "runs": [str(run) for run in evidence.runs],
            "rows": [str(row) for row in evidence.rows],
            "complete": sorted(evidence.complete),
            "trainings": [str(training) for training in evidence.trainings],
            "jobs": [str(job) for job in evidence.jobs],
        },
        indent=2,
    )
