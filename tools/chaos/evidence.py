"""Collects the evidence of every run at the end, from tables, volume, cluster, audit log and the observer."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError
from tools.chaos import audit, processes
from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.observer import Observer
from tools.chaos.records import Disturbed, Evidence, Folder, Job, Run, Strike, Training
from tools.chaos.script import Script
from tools.cluster.cluster import Cluster
from tools.cluster.control_plane import AUDIT_LOG

T = TypeVar("T")


def collect(
    chaos_env: ChaosEnv, strikes: Sequence[tuple[Script, list[Strike]]], disturbed: Sequence[Disturbed], observer: Observer
) -> list[Evidence]:
    """The evidence of every script."""
    namespace = chaos_env.cluster_namespace.namespace
    runs = _by(chaos_env.runs(), lambda run: run.label)
    rows = _by(chaos_env.rows(), lambda row: row.run_id)
    events = _by(chaos_env.events(), lambda event: event.run_id)
    jobs = _by(jobs_of(chaos_env.cluster, namespace), lambda job: job.run_id)
    logs = sorted(chaos_env.cluster.folder.glob(f"{AUDIT_LOG.removesuffix('.log')}*.log"))
    lines = [line for log in logs for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    requests = _by(audit.requests(lines, namespace=namespace), lambda request: request.run_id)
    suspensions = _by(audit.suspensions(lines, namespace=namespace), lambda one: one.run_id)
    folders = _by(_folders(chaos_env), lambda folder: folder.path.rsplit("/", 2)[0])
    alive = _by(processes.alive(), lambda process: process.run_id)
    found = []
    for script, applied in strikes:
        here = tuple(runs[script.label])
        ids = [run.run_id for run in here]
        trainings = tuple(training for run_id in ids for training in _trainings(chaos_env, run_id))
        found.append(
            Evidence(
                script=script,
                strikes=tuple(judged(strike, applied[:number], script, trainings) for number, strike in enumerate(applied)),
                disturbed=tuple(one for one in disturbed if any(_during(one, run) for run in here)),
                runs=here,
                rows=tuple(row for run_id in ids for row in rows[run_id]),
                events=tuple(event for run_id in ids for event in events[run_id]),
                folders=tuple(folders[script.label]),
                trainings=trainings,
                overlaps=sum(len(list((chaos_env.marks / run_id).glob("*.overlap"))) for run_id in ids),
                jobs=tuple(job for run_id in ids for job in jobs[run_id]),
                requests=tuple(request for run_id in ids for request in requests[run_id]),
                together=tuple(together for run_id in ids for together in observer.together(run_id)),
                last_alive=max((observer.last_alive[run_id] for run_id in ids if run_id in observer.last_alive), default=None),
                alive_at_end=tuple(f"{one.kind} {one.stage} {one.pid}" for run_id in ids for one in alive[run_id]),
                suspensions=tuple(one for run_id in ids for one in suspensions[run_id]),
            )
        )
    return found


def unknown(found: Iterable[Evidence], chaos_env: ChaosEnv) -> list[str]:
    """Folders, runs and processes that belong to no script, as text."""
    found = list(found)
    labels = {evidence.script.label for evidence in found}
    ids = {run.run_id for evidence in found for run in evidence.runs}
    folders = [f"folder {one.path} has no run" for one in _folders(chaos_env) if one.path.rsplit("/", 2)[0] not in labels]
    runs = [f"run {run.run_id} of {run.label} has no script" for run in chaos_env.runs() if run.label not in labels]
    alive = [f"{one.kind} {one.pid} of run {one.run_id} has no row" for one in processes.alive() if one.run_id not in ids]
    return [*folders, *runs, *alive]


def jobs_of(cluster: Cluster, namespace: str) -> list[Job]:
    """Every Job of the namespace."""
    return [_job(job) for job in cluster.get("jobs", "--namespace", namespace)["items"]]


def as_json(evidence: Evidence) -> str:
    """All evidence as text, for the analysis of a violation."""
    parts = ("strikes", "disturbed", "runs", "rows", "events", "folders", "trainings", "jobs", "requests", "suspensions", "together")
    described: dict[str, Any] = {name: [str(one) for one in getattr(evidence, name)] for name in parts}
    described |= {"script": str(evidence.script), "overlaps": evidence.overlaps, "last_alive": evidence.last_alive}
    return json.dumps({**described, "alive_at_end": evidence.alive_at_end}, indent=2)


def judged(strike: Strike, before: Sequence[Strike], script: Script, trainings: Iterable[Training]) -> Strike:
    """The strike, with the answer whether the run had nothing left to train."""
    done = {training.algorithm for training in trainings if training.done and training.attempt <= strike.attempt}
    failed = sum(one.struck is not False and one.blow.fault == "worker killed" for one in before)
    return replace(strike, all_done=len(done) + failed >= len(script.algorithms))


def _during(one: Disturbed, run: Run) -> bool:
    queued = run.queued_at.timestamp() if run.queued_at and run.attempt == 1 else 0.0
    return one.ended >= queued and (run.finished_at is None or one.began <= run.finished_at.timestamp())


def _by(values: Iterable[T], key: Callable[[T], str]) -> defaultdict[str, list[T]]:
    found: defaultdict[str, list[T]] = defaultdict(list)
    for value in values:
        found[key(value)].append(value)
    return found


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


def _folders(chaos_env: ChaosEnv) -> list[Folder]:
    return [_folder(chaos_env, path) for path in artifacts.version_folders(chaos_env.models)]


def _folder(chaos_env: ChaosEnv, path: Any) -> Folder:
    relative = path.relative_to(chaos_env.models).as_posix()
    try:
        manifest = artifacts.read_manifest(path)
    except ArtifactError:
        return Folder(path=relative, row_id=0, digest="", metrics={}, complete=False)
    return Folder(
        path=relative,
        row_id=manifest.provenance.run_log_id,
        digest=hashlib.sha256((path / artifacts.MANIFEST).read_bytes()).hexdigest(),
        metrics=json.loads((path / artifacts.METRICS).read_text(encoding="utf-8")),
        complete=not artifacts.verify(path) and not artifacts.misplaced(path),
    )


def _trainings(chaos_env: ChaosEnv, run_id: str) -> list[Training]:
    found = []
    for begun in sorted((chaos_env.marks / run_id).glob("*.begun")):
        attempt, _, algorithm = begun.stem.partition("-")
        times = len(begun.read_text().splitlines())
        found.append(Training(attempt=int(attempt), algorithm=algorithm, begun=times, done=begun.with_suffix(".done").exists()))
    return found
