"""The straight line of a run: corpus -> summarise -> (pseudo-label) -> train, publish and report each algorithm in turn."""

import json
import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from pydantic import BaseModel

from gregory import corpus
from gregory.ml import artifacts, split, stages
from gregory.ml.artifacts import Provenance
from gregory.ml.base_models import verify_bundle
from gregory.ml.data import Article, write_rows
from gregory.ml.errors import ArtifactError
from gregory.ml.limits import cpu_count
from gregory.ml.progress import Progress
from gregory.runs import ledger
from gregory.runs.names import Reason
from gregory.runs.persistence import durably, if_possible
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunSpec
from job.interruption import Interruption
from job.supervise import StageFailed, Usage, run_stage
from job.voice import Voice

HEARTBEAT_SECONDS = 15.0


class Pipeline:
    """Carries out one claimed run. Raises what stops the run as a whole; an algorithm's failure ends that algorithm only."""

    def __init__(self, spec: RunSpec, voice: Voice, interruption: Interruption, *, models_dir: Path, bundle_dir: Path) -> None:
        self.stages_dir = models_dir / artifacts.RUNS_FOLDER / spec.run_id / "stages"
        self._spec = spec
        self._voice = voice
        self._interruption = interruption
        self._models_dir = models_dir
        self._bundle_dir = bundle_dir
        self._threads = cpu_count()
        self._last_heartbeat = time.monotonic()
        self._usage: dict[str, Usage] = {}

    def run(self) -> None:
        """Every step in order."""
        spec = self._spec
        self._voice.say(f"Started run {spec.run_id}: {', '.join(a.algorithm for a in spec.algorithms)}; {spec.window.description}")
        verify_bundle(self._bundle_dir)
        summaries = self._summarise()
        pseudo_labels = self._pseudo_label(summaries) if spec.config.pseudo_label else None
        title_only = stages.SummariseResult.model_validate_json((summaries / stages.RESULT).read_text(encoding="utf-8")).title_only
        for algorithm in spec.algorithms:
            durably(partial(ledger.begin_algorithm, spec, algorithm.run_log_id))
            self._voice.say(f"Started training version {algorithm.version}", algorithm=algorithm.algorithm, stage="train")
            try:
                outcome, evidence = self._train(algorithm, summaries, pseudo_labels, title_only=title_only)
            except StageFailed as failure:
                if failure.reason is Reason.INTERRUPTED:
                    raise
                outcome, evidence = self._failure(algorithm, failure)
            self._close(outcome, evidence)

    def _summarise(self) -> Path:
        folder = self._prepare("summarise")
        written = self._write_corpus(folder / "in" / stages.ARTICLES)
        self._voice.say(f"{written['relevant']} relevant and {written['not_relevant']} not relevant articles")
        split.require_both_classes(**written)
        request = stages.SummariseRequest(
            bundle=self._bundle_dir, config=self._spec.config.hyperparameters.summariser, threads=self._threads
        )
        return self._stage("summarise", folder, request, about=self._spec.algorithms)

    def _write_corpus(self, path: Path) -> dict[str, int]:
        """Stream the subject's articles into the first stage's input; labelled articles per class."""
        spec, counts = self._spec, {"relevant": 0, "not_relevant": 0}

        def counted(articles: Iterator[Article]) -> Iterator[Article]:
            for article in articles:
                counts["relevant" if article.label else "not_relevant"] += 1
                yield article

        def read() -> None:
            counts.update(relevant=0, not_relevant=0)
            pool = corpus.unlabelled(spec.subject.id, spec.window.cutoff) if spec.config.pseudo_label else iter(())
            write_rows(path, chain(counted(corpus.labelled(spec.subject.id, spec.window.cutoff)), pool))

        durably(read)
        # Training takes hours and needs no database; a connection left open would be cut by somebody's timeout.
        connection.close()
        return counts

    def _pseudo_label(self, summaries: Path) -> Path:
        folder = self._prepare("pseudo_label")
        for name in (stages.EXAMPLES, stages.POOL):
            os.link(summaries / name, folder / "in" / name)
        request = stages.PseudoLabelRequest(bundle=self._bundle_dir, config=self._spec.config, threads=self._threads)
        out = self._stage("pseudo_label", folder, request, about=self._spec.algorithms)
        result = stages.PseudoLabelResult.model_validate_json((out / stages.RESULT).read_text(encoding="utf-8"))
        kept = artifacts.keep_pseudo_labels(
            out / stages.PSEUDO_LABELS_CSV, self._models_dir, team=self._spec.team.slug, subject=self._spec.subject.slug
        )
        rounds = ", ".join(str(count) for count in result.accepted_per_round) or "no round"
        self._voice.say(f"Pseudo-labels accepted per round: {rounds}; {kept.relative_to(self._models_dir)}", stage="pseudo_label")
        return out

    def _train(
        self, algorithm: AlgorithmSpec, summaries: Path, pseudo_labels: Path | None, *, title_only: int
    ) -> tuple[AlgorithmOutcome, ledger.Evidence]:
        spec = self._spec
        folder = self._prepare(f"train-{algorithm.algorithm}")
        os.link(summaries / stages.EXAMPLES, folder / "in" / stages.EXAMPLES)
        if pseudo_labels is not None:
            os.link(pseudo_labels / stages.PSEUDO_LABELS, folder / "in" / stages.PSEUDO_LABELS)
        request = stages.TrainRequest(
            algorithm=algorithm.algorithm,
            bundle=self._bundle_dir,
            config=spec.config,
            threads=self._threads,
            title_only=title_only,
            provenance=Provenance(
                team=spec.team.slug,
                subject=spec.subject.slug,
                version=algorithm.version,
                run_id=spec.run_id,
                attempt=spec.attempt,
                run_log_id=algorithm.run_log_id,
                cutoff=spec.window.cutoff,
                window=spec.window.description,
                image_digest=settings.IMAGE_DIGEST,
            ),
        )
        out = self._stage("train", folder, request, about=(algorithm,))
        return self._publish(algorithm, out)

    def _publish(self, algorithm: AlgorithmSpec, out: Path) -> tuple[AlgorithmOutcome, ledger.Evidence]:
        spec = self._spec
        destination = artifacts.version_folder(
            self._models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
        )
        result = stages.TrainResult.model_validate_json((out / stages.RESULT).read_text(encoding="utf-8"))
        usage = self._usage["train"]
        try:
            artifacts.publish(out / stages.MODEL_FOLDER, destination)
        except ArtifactError as error:
            raise StageFailed(Reason.ARTIFACT, str(error), traceback.format_exc(), usage) from error
        outcome = AlgorithmOutcome(
            algorithm=algorithm.algorithm,
            run_log_id=algorithm.run_log_id,
            version=algorithm.version,
            success=True,
            metrics=result.metrics,
            warnings=result.warnings,
            artifact=destination.relative_to(self._models_dir).as_posix(),
            digest=artifacts.digest(destination),
            seconds=usage.seconds,
            peak_bytes=usage.peak_bytes,
        )
        evaluation = json.loads((destination / artifacts.EVALUATION).read_text(encoding="utf-8"))
        return outcome, ledger.Evidence(evaluation=evaluation, resources=self._resources())

    def _failure(self, algorithm: AlgorithmSpec, failure: StageFailed) -> tuple[AlgorithmOutcome, ledger.Evidence]:
        outcome = AlgorithmOutcome(
            algorithm=algorithm.algorithm,
            run_log_id=algorithm.run_log_id,
            version=algorithm.version,
            success=False,
            reason=failure.reason,
            error=failure.report,
            seconds=failure.usage.seconds,
            peak_bytes=failure.usage.peak_bytes,
        )
        self._voice.say(f"Failed version {algorithm.version}: {failure}", algorithm=algorithm.algorithm, stage="train", tone="bad")
        return outcome, ledger.Evidence(resources=self._resources())

    def _close(self, outcome: AlgorithmOutcome, evidence: ledger.Evidence) -> None:
        written = durably(partial(ledger.close_algorithm, self._spec, outcome, evidence))
        if not written:
            self._voice.warn(f"the row of version {outcome.version} had ended already; kept as an event", algorithm=outcome.algorithm)
        if not outcome.success:
            return
        for warning in outcome.warnings:
            self._voice.warn(warning, algorithm=outcome.algorithm)
        metrics = outcome.metrics
        self._voice.say(
            f"Finished version {outcome.version} in {outcome.seconds:.0f} s: test ROC AUC {metrics['test_roc_auc']:.3f}, "
            f"f1 {metrics['test_f1']:.3f} at threshold {metrics['prob_threshold']:g}",
            algorithm=outcome.algorithm,
            stage="train",
            tone="good",
        )

    def _prepare(self, name: str) -> Path:
        folder = self.stages_dir / name
        (folder / "in").mkdir(parents=True)
        return folder

    def _stage(self, stage: str, folder: Path, request: BaseModel, *, about: tuple[AlgorithmSpec, ...]) -> Path:
        """Run one stage and remember what it took; its output folder."""
        (folder / "in" / stages.REQUEST).write_text(request.model_dump_json(indent=2), encoding="utf-8")
        started = time.monotonic()
        name = about[0].algorithm if len(about) == 1 else ""
        latest = Progress(message="starting")

        def report(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            self._voice.progress(progress, algorithm=name, stage=stage)

        def heartbeat(*, at_once: bool = False) -> None:
            now = time.monotonic()
            if not at_once and now - self._last_heartbeat < HEARTBEAT_SECONDS:
                return
            self._last_heartbeat = now
            left = seconds_left(latest.fraction, now - started)
            for algorithm in about:
                if_possible(
                    partial(ledger.record_progress, self._spec, algorithm.run_log_id, stage=stage, progress=latest, seconds_left=left)
                )
            if_possible(partial(ledger.heartbeat, [self._spec]))
            connection.close()

        heartbeat(at_once=True)
        try:
            usage = run_stage(stage, folder, interruption=self._interruption, report=report, heartbeat=heartbeat)
        except StageFailed as failure:
            self._usage[stage] = failure.usage
            raise
        self._usage[stage] = usage
        return folder / "out"

    def _resources(self) -> dict[str, Any]:
        return {"stages": {stage: asdict(usage) for stage, usage in self._usage.items()}}


def seconds_left(fraction: float | None, elapsed: float) -> float | None:
    """What remains if the rest goes as the beginning did."""
    return None if not fraction else round(elapsed * (1 - fraction) / fraction, 1)
