"""Closes what died mute: what runners see + what the ledger says -> verdicts, applied.

A run ends here only on positive evidence that nothing carries it out any more. Not knowing writes nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gregory.launch.runners.base import Life, Observation, Runner
from gregory.launch.submit import RUNNERS
from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError
from gregory.runs import ledger
from gregory.runs.models import TrainingRun
from gregory.runs.names import Reason, RunState
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunSpec

# What a failed run left is kept this long for whoever looks into it.
KEEP_FAILED_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to become of one unfinished run. `reason` None leaves it alone; `detail` says why in either case."""

    reason: Reason | None
    detail: str
    exit_code: int | None = None


def judge(observation: Observation, *, state: RunState, silent: bool, stale_after: int) -> Verdict:
    """The rule, without any I/O. `silent`: no sign of life for `stale_after` seconds by the database's clock."""
    if observation.life is Life.ALIVE:
        return Verdict(reason=None, detail=observation.detail)
    if observation.life is Life.UNKNOWN:
        if not silent:
            return Verdict(reason=None, detail=f"{observation.detail}; not known to be dead")
        return Verdict(reason=Reason.LOST, detail=f"lost: {observation.detail} and has given no sign of life for more than {stale_after} s")
    if state is RunState.PENDING:
        return Verdict(reason=Reason.NOT_STARTED, detail=f"never started: the command that queued it is gone ({observation.detail})")
    if observation.reason is not None:
        return Verdict(reason=observation.reason, detail=observation.detail, exit_code=observation.exit_code)
    return Verdict(reason=Reason.LOST, detail=f"lost: {observation.detail}", exit_code=observation.exit_code)


def reconcile(runner_for: Callable[[str], Runner], *, models_dir: Path, stale_after: int) -> list[tuple[TrainingRun, Verdict]]:
    """Judge every unfinished run and apply the verdicts; what was decided about each."""
    by_runner: dict[str, list[TrainingRun]] = {}
    for run in ledger.unfinished_runs():
        by_runner.setdefault(run.runner, []).append(run)
    decided = []
    for name, runs in by_runner.items():
        runner = runner_for(name)
        observations = runner.observe([ledger.handle_of(run) for run in runs])
        for run, observation in zip(runs, observations, strict=True):
            verdict = judge(
                observation, state=RunState(run.state), silent=ledger.is_silent(run.run_id, stale_after), stale_after=stale_after
            )
            if verdict.reason is not None:
                spec = RunSpec.model_validate(run.spec)
                close(spec, verdict, models_dir=models_dir, log_tail=runner.tail(spec))
            decided.append((run, verdict))
    return decided


def close(spec: RunSpec, verdict: Verdict, *, models_dir: Path, log_tail: str = "") -> None:
    """End a dead run: an algorithm whose complete model stands in its place succeeded, whatever happened after; the others failed."""
    if verdict.reason is None:
        raise ValueError("a verdict without a reason closes nothing")
    if not recover(spec, verdict.detail, models_dir=models_dir):
        ledger.end_run(spec, RunState.FAILED, reason=verdict.reason, detail=verdict.detail, exit_code=verdict.exit_code, log_tail=log_tail)


def recover(spec: RunSpec, detail: str, *, models_dir: Path) -> bool:
    """Close as successes what a dead run had finished and not reported; whether that completes the run, which then ends well."""
    still_open = ledger.open_algorithms(spec)
    for algorithm in spec.algorithms:
        proof = _published(spec, algorithm, models_dir) if algorithm.run_log_id in still_open else None
        if proof is not None:
            ledger.close_algorithm(spec, *proof)
    if len(ledger.successes(spec)) < len(spec.algorithms):
        return False
    ledger.finish_run(spec, RunState.SUCCEEDED, detail=f"every model was complete; {detail}")
    return True


def sweep(runner_for: Callable[[str], Runner], *, keep_seconds: float = KEEP_FAILED_SECONDS) -> list[str]:
    """Remove what runs that ended longer ago than this left on their machines; what that was."""
    unfinished = {run.run_id for run in ledger.unfinished_runs()}
    # The working folders are everybody's and the local runner's to remove; a runner of another version has nobody to ask.
    names = sorted({"local", *ledger.runners_used()} & RUNNERS.keys())
    return [removed for name in names for removed in runner_for(name).sweep(unfinished, keep_seconds=keep_seconds)]


def _published(spec: RunSpec, algorithm: AlgorithmSpec, models_dir: Path) -> tuple[AlgorithmOutcome, ledger.Evidence] | None:
    """The outcome that a complete version folder of exactly this row proves, if there is one."""
    folder = artifacts.version_folder(
        models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    try:
        manifest = artifacts.read_manifest(folder)
    except ArtifactError:
        return None
    if (manifest.provenance.run_id, manifest.provenance.run_log_id) != (spec.run_id, algorithm.run_log_id) or artifacts.verify(folder):
        return None
    outcome = AlgorithmOutcome(
        algorithm=algorithm.algorithm,
        run_log_id=algorithm.run_log_id,
        version=algorithm.version,
        success=True,
        metrics=json.loads((folder / artifacts.METRICS).read_text(encoding="utf-8")),
        warnings=manifest.warnings,
        artifact=folder.relative_to(models_dir).as_posix(),
        digest=artifacts.digest(folder),
    )
    evaluation = json.loads((folder / artifacts.EVALUATION).read_text(encoding="utf-8"))
    return outcome, ledger.Evidence(evaluation=evaluation, data=manifest.data.model_dump(mode="json"), compute=dict(manifest.compute))
