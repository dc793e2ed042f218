"""The straight line of a run: corpus -> summarise -> (pseudo-label) -> train, publish and report each algorithm in turn.

What a step leaves in the run's folder is complete or not there, so an attempt goes the same line as the one before it and
finds done what that one had done.
"""

import json
import os
import shutil
import time
import traceback
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from pydantic import BaseModel

from gregory.data import corpus
from gregory.ml import artifacts, split
from gregory.ml.artifacts import Provenance, PseudoLabelFacts
from gregory.ml.base_models import verify_bundle
from gregory.ml.dataset import read_articles, write_articles
from gregory.ml.errors import ArtifactError
from gregory.ml.files import flush
from gregory.ml.progress import Progress
from gregory.ml.resources import cpu_count
from gregory.ml.stages import contract
from gregory.runs import recovery, store
from gregory.runs.db_retry import best_effort, close_connection, read_only_transaction
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunSpec
from job.database_retry import DatabaseRetry
from job.event_log import EventLogger
from job.outcome_report import OutcomeReport
from job.shutdown import ShutdownRequest
from job.supervise import StageFailed, Usage, read_usage, run_stage

HEARTBEAT_SECONDS = 15.0
Result = TypeVar("Result", bound=BaseModel)


class Pipeline:
    """Carries out one claimed run. Raises what stops the run as a whole; an algorithm's failure ends that algorithm only."""

    def __init__(
        self,
        spec: RunSpec,
        voice: EventLogger,
        interruption: ShutdownRequest,
        account: OutcomeReport,
        *,
        models_dir: Path,
        bundle_dir: Path,
    ) -> None:
        self.stages_dir = artifacts.stages_folder(models_dir, spec.run_id)
        self._spec = spec
        self._voice = voice
        self._interruption = interruption
        self._account = account
        self._durably = DatabaseRetry(interruption, account).retry_on_disconnect
        self._models_dir = models_dir
        self._bundle_dir = bundle_dir
        self._threads = cpu_count()
        self._bundle_digest = ""
        self._last_heartbeat = time.monotonic()
        self._progressed = False
        self._usage: dict[str, Usage] = {}

    def run(self) -> None:
        """Every step in order."""
        spec = self._spec
        self._voice.info(f"Started run {spec.run_id}: {', '.join(a.algorithm for a in spec.algorithms)}; {spec.window.description}")
        if spec.require_gpu:
            self._find_gpu()
        self._bundle_digest = verify_bundle(self._bundle_dir).digest()
        summaries = self._summarise()
        pseudo_labels = self._pseudo_label(summaries) if spec.config.pseudo_label else None
        for algorithm in spec.algorithms:
            self._durably(partial(store.begin_algorithm, spec, algorithm.run_log_id))
            self._voice.info(f"Started training version {algorithm.version}", algorithm=algorithm.algorithm, stage="train")
            try:
                outcome, evidence = self._train(algorithm, summaries, pseudo_labels)
            except StageFailed as failure:
                if failure.reason is Reason.INTERRUPTED:
                    raise
                outcome, evidence = self._failure(algorithm, failure)
            self._close(outcome, evidence)
            if outcome.success:
                # A fit's checkpoint is several times the model's size.
                shutil.rmtree(self.stages_dir / f"train-{algorithm.algorithm}", ignore_errors=True)

    def _find_gpu(self) -> None:
        """In a process of its own, and in every attempt: another machine may carry it out."""
        folder = self._prepare("find_gpu")
        shutil.rmtree(folder / "out", ignore_errors=True)
        out = self._stage("find_gpu", folder, contract.GpuRequest(), about=self._spec.algorithms)
        self._voice.info(f"GPU: {_result(out, contract.GpuResult).name}", stage="find_gpu")

    def _summarise(self) -> Path:
        folder = self._prepare("summarise")
        articles = folder / "in" / contract.ARTICLES
        if not articles.exists():
            self._write_corpus(articles)
        labels = [article.label for article in read_articles(articles) if article.label is not None]
        relevant, not_relevant = sum(labels), len(labels) - sum(labels)
        self._voice.info(f"{relevant} relevant and {not_relevant} not relevant articles")
        split.require_both_classes(relevant=relevant, not_relevant=not_relevant)
        request = contract.SummariseRequest(config=self._spec.config.hyperparameters.summariser, **self._base())
        return self._stage("summarise", folder, request, about=self._spec.algorithms)

    def _write_corpus(self, path: Path) -> None:
        """Stream the subject's articles into the first stage's input, once: every attempt learns from the same rows."""
        spec, unfinished = self._spec, path.with_suffix(".partial")

        def read() -> None:
            pool = corpus.unlabelled(spec.subject.id, spec.window.cutoff) if spec.config.pseudo_label else iter(())
            with read_only_transaction():
                write_articles(unfinished, chain(corpus.labelled(spec.subject.id, spec.window.cutoff), pool))

        self._durably(read)
        flush(unfinished)
        unfinished.rename(path)

    def _pseudo_label(self, summaries: Path) -> Path:
        folder = self._prepare("pseudo_label")
        _link(summaries / contract.EXAMPLES, folder / "in")
        _link(summaries / contract.POOL, folder / "in")
        request = contract.PseudoLabelRequest(config=self._spec.config, **self._base())
        out = self._stage("pseudo_label", folder, request, about=self._spec.algorithms)
        facts = self._pseudo_label_facts(out)
        rounds = ", ".join(f"{done.relevant + done.not_relevant} of {done.asked}" for done in facts.rounds) or "no round"
        self._voice.info(f"Pseudo-labels accepted per round: {rounds}; {facts.file}", stage="pseudo_label")
        return out

    def _pseudo_label_facts(self, out: Path) -> PseudoLabelFacts:
        """What the manifests say; the file with the labels is put in its place."""
        result = _result(out, contract.PseudoLabelResult)
        csv_file = artifacts.keep_pseudo_labels(
            out / contract.PSEUDO_LABELS_CSV, self._models_dir, team=self._spec.team.slug, subject=self._spec.subject.slug
        )
        return PseudoLabelFacts(pool=result.pool, rounds=result.rounds, file=csv_file.relative_to(self._models_dir).as_posix())

    def _train(
        self, algorithm: AlgorithmSpec, summaries: Path, pseudo_labels: Path | None
    ) -> tuple[AlgorithmOutcome, store.OutcomeDetails]:
        spec = self._spec
        folder = self._prepare(f"train-{algorithm.algorithm}")
        _link(summaries / contract.EXAMPLES, folder / "in")
        if pseudo_labels is not None:
            _link(pseudo_labels / contract.PSEUDO_LABELS, folder / "in")
        request = contract.TrainRequest(
            algorithm=algorithm.algorithm,
            config=spec.config,
            title_only=_result(summaries, contract.SummariseResult).title_only,
            pseudo_labels=self._pseudo_label_facts(pseudo_labels) if pseudo_labels else None,
            **self._base(),
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

    def _publish(self, algorithm: AlgorithmSpec, out: Path) -> tuple[AlgorithmOutcome, store.OutcomeDetails]:
        spec = self._spec
        destination = artifacts.version_folder(
            self._models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
        )
        result = _result(out, contract.TrainResult)
        usage = self._usage["train"]
        try:
            artifacts.publish(out / contract.MODEL_FOLDER, destination)
        except ArtifactError as error:
            # An attempt that was taken for dead may have woken up, out of the database's reach, and published this row's model.
            if (proof := recovery.published(spec, algorithm, self._models_dir)) is not None:
                return proof
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
        data = result.data.model_dump(mode="json")
        return outcome, store.OutcomeDetails(evaluation=evaluation, resources=self._resources(), data=data, compute=result.compute)

    def _failure(self, algorithm: AlgorithmSpec, failure: StageFailed) -> tuple[AlgorithmOutcome, store.OutcomeDetails]:
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
        self._voice.info(f"Failed version {algorithm.version}: {failure}", algorithm=algorithm.algorithm, stage="train", tone="bad")
        return outcome, store.OutcomeDetails(resources=self._resources())

    def _close(self, outcome: AlgorithmOutcome, evidence: store.OutcomeDetails) -> None:
        self._account.add(outcome)
        written = self._durably(partial(store.close_algorithm, self._spec, outcome, evidence))
        self._account.write()
        if not written:
            self._voice.warn(f"the row of version {outcome.version} had ended already; kept as an event", algorithm=outcome.algorithm)
        if not outcome.success:
            return
        for warning in outcome.warnings:
            self._voice.warn(warning, algorithm=outcome.algorithm)
        metrics = outcome.metrics
        self._voice.info(
            f"Finished version {outcome.version} in {outcome.seconds:.0f} s: test ROC AUC {metrics['test_roc_auc']:.3f}, "
            f"f1 {metrics['test_f1']:.3f} at threshold {metrics['prob_threshold']:g}",
            algorithm=outcome.algorithm,
            stage="train",
            tone="good",
        )

    def _prepare(self, name: str) -> Path:
        folder = self.stages_dir / name
        (folder / "in").mkdir(parents=True, exist_ok=True)
        return folder

    def _base(self) -> dict[str, Any]:
        """What every request of a stage that loads base models holds."""
        return {
            "bundle": self._bundle_dir,
            "bundle_digest": self._bundle_digest,
            "threads": self._threads,
            "require_gpu": self._spec.require_gpu,
        }

    def _stage(self, stage: str, folder: Path, request: BaseModel, *, about: tuple[AlgorithmSpec, ...]) -> Path:
        """Run one stage, unless an earlier attempt has, and remember what it took; its output folder."""
        asked = folder / "in" / contract.REQUEST
        if (folder / "out").exists():
            if contract.same_result(request, type(request).model_validate_json(asked.read_text(encoding="utf-8"))):
                self._voice.info(f"{folder.name}: done by an earlier attempt")
                self._usage[stage] = read_usage(folder)
                return folder / "out"
            shutil.rmtree(folder / "out")
        asked.write_text(request.model_dump_json(indent=2), encoding="utf-8")
        started = time.monotonic()
        name = about[0].algorithm if len(about) == 1 else ""
        latest = Progress(message="starting")

        def report(progress: Progress) -> None:
            nonlocal latest
            # What is said again and again is no progress.
            self._progressed |= progress != latest
            latest = progress
            self._voice.progress(progress, algorithm=name, stage=stage)

        def heartbeat(*, at_once: bool = False) -> None:
            now = time.monotonic()
            if not at_once and now - self._last_heartbeat < HEARTBEAT_SECONDS:
                return
            self._last_heartbeat = now
            left = seconds_left(latest.fraction, now - started)

            def tell() -> bool:
                for algorithm in about:
                    store.record_progress(self._spec, algorithm.run_log_id, stage=stage, progress=latest, seconds_left=left)
                # Two signs, since a stage that hangs does not keep this process from saying that it lives.
                store.heartbeat([self._spec], progressed=at_once or self._progressed)
                self._end_if_told_to()
                return True

            # All at once: a server that does not answer is waited for once, and the stage is looked after again.
            if best_effort(tell, otherwise=False):
                self._progressed = False
            close_connection()

        heartbeat(at_once=True)
        try:
            usage = run_stage(stage, folder, interruption=self._interruption, report=report, heartbeat=heartbeat)
        except StageFailed as failure:
            self._usage[stage] = failure.usage
            raise
        self._usage[stage] = usage
        return folder / "out"

    def _end_if_told_to(self) -> None:
        """Two attempts must not work in one folder: one taken for dead that woke up gives way, and so does one that is being ended."""
        if not store.is_unfinished(self._spec):
            self._interruption.request("superseded: the run was ended, or resumed in another attempt")
        elif announced := store.announced_end(self._spec):
            self._interruption.request(announced.summary)

    def _resources(self) -> dict[str, Any]:
        return {"stages": {stage: asdict(usage) for stage, usage in self._usage.items()}}


def _result(out: Path, result: type[Result]) -> Result:
    return result.model_validate_json((out / contract.RESULT).read_text(encoding="utf-8"))


def _link(file: Path, folder: Path) -> None:
    """The file in the folder too, in place of what an earlier attempt may have left there."""
    (folder / file.name).unlink(missing_ok=True)
    os.link(file, folder / file.name)


def seconds_left(fraction: float | None, elapsed: float) -> float | None:
    """What remains if the rest goes as the beginning did."""
    return None if not fraction else round(elapsed * (1 - fraction) / fraction, 1)
