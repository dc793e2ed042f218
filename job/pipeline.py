"""The steps that every run has: check for the rows and the GPU, verify the base models, prepare, then work on each algorithm.

Each step leaves a complete result in the run's folder, or none. The next attempt takes the same steps and skips each finished one.
`training` and `prediction` have the steps of their kind.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from django.conf import settings
from pydantic import BaseModel

from gregory.ml import artifacts
from gregory.ml.base_models import verify_bundle
from gregory.ml.files import flush, keep_private
from gregory.ml.stages import contract
from gregory.ml.stages.environment import stage_threads
from gregory.runs import store
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunSpec
from gregory.shutdown import ShutdownRequest
from job import attempt_folder
from job.database_retry import DatabaseRetry
from job.event_log import EventLogger
from job.fence import SUPERSEDED, Fence, Superseded
from job.outcome_report import OutcomeReport
from job.publishing import Result, failed_outcome
from job.stage_runner import StageRunner, read_result
from job.supervise import StageFailed, Usage

Spec = TypeVar("Spec", bound=RunSpec)
NOTHING_USED = Usage(seconds=0.0, peak_bytes=0)


class Pipeline(ABC, Generic[Spec]):
    """Executes one claimed run. The failure of one algorithm does not stop the others. All other failures are raised.

    doing: the work on an algorithm, for the log.
    """

    doing: str

    def __init__(
        self,
        spec: Spec,
        log: EventLogger,
        shutdown: ShutdownRequest,
        report: OutcomeReport,
        *,
        models_dir: Path,
        bundle_dir: Path,
        fence: Fence,
    ) -> None:
        self.stages_dir = spec.folder(models_dir).stages(spec.attempt)
        self._fence = fence
        self._spec = spec
        self._log = log
        self._report = report
        self._shutdown = shutdown
        self._retry = DatabaseRetry(shutdown, report)
        self._models_dir = models_dir
        self._bundle_dir = bundle_dir
        self._threads = stage_threads(settings.ENVIRONMENT.OMP_NUM_THREADS)
        self._bundle_digest = ""
        self._stages = StageRunner(spec, log, shutdown, stages_dir=self.stages_dir)

    def run(self) -> None:
        """Execute every step in order."""
        spec = self._spec
        self._log.info(f"Started run {spec.run_id}: {', '.join(a.algorithm for a in spec.algorithms)}; {spec.window.description}")
        self._keep(self._possible())
        if not self._spec.algorithms:
            return
        self._require_rows(*self._spec.algorithms)
        folder = spec.folder(self._models_dir)
        attempt_folder.take_over(folder, spec.attempt)
        # It has the texts of articles.
        keep_private(folder.path, group=folder.group_write())
        if spec.publish_only:
            self._close_each(self._publish_kept)
            return
        if spec.require_gpu:
            self._find_gpu()
        self._bundle_digest = verify_bundle(self._bundle_dir, digest=settings.ENVIRONMENT.GREGORY_BASE_MODELS_DIGEST).digest()
        self._prepare()
        self._close_each(self._begin)

    def _begin(self, algorithm: AlgorithmSpec) -> Result:
        self._retry(partial(store.begin_algorithm, self._spec, algorithm.run_log_id))
        self._log.info(f"Started {self.doing} version {algorithm.version}", algorithm=algorithm.algorithm, stage=self._spec.work)
        return self._work(algorithm)

    def _close_each(self, result: Callable[[AlgorithmSpec], Result]) -> None:
        """Close the row of each algorithm with its result."""
        for algorithm in self._spec.algorithms:
            try:
                self._require_rows(algorithm)
                outcome, details = result(algorithm)
            except StageFailed as failure:
                if failure.reason is Reason.INTERRUPTED:
                    raise
                if self._fence.is_lost():
                    # The later attempt removed the files of this stage.
                    raise Superseded(SUPERSEDED) from failure
                outcome, details = self._failed(algorithm, failure)
            if self._close(outcome, details) and outcome.success:
                for warning in outcome.warnings:
                    self._log.warn(warning, algorithm=outcome.algorithm)
                self._announce(outcome)
            if outcome.success:
                # The checkpoint of a training is several times as large as the model.
                shutil.rmtree(self.stages_dir / f"{self._spec.work}-{algorithm.algorithm}", ignore_errors=True)

    @abstractmethod
    def _possible(self) -> tuple[AlgorithmSpec, ...]:
        """The algorithms that can succeed. The rows of the others are closed now and not after hours of work."""

    @abstractmethod
    def _prepare(self) -> None:
        """The stages before the first algorithm."""

    @abstractmethod
    def _work(self, algorithm: AlgorithmSpec) -> Result:
        """The work on one algorithm. Raises StageFailed."""

    def _publish_kept(self, algorithm: AlgorithmSpec) -> Result:
        """Publish what an earlier attempt left. Only a training leaves something to publish."""
        raise NotImplementedError

    @abstractmethod
    def _announce(self, outcome: AlgorithmOutcome) -> None:
        """Log a success."""

    def _keep(self, algorithms: tuple[AlgorithmSpec, ...]) -> None:
        """Continue with these algorithms."""
        self._spec = self._spec.model_copy(update={"algorithms": algorithms})

    def _model_folder(self, algorithm: AlgorithmSpec) -> Path:
        team, subject = self._spec.team.slug, self._spec.subject.slug
        return artifacts.version_folder(
            self._models_dir, team=team, subject=subject, algorithm=algorithm.algorithm, version=algorithm.version
        )

    def _close_failed(self, algorithm: AlgorithmSpec, reason: Reason, message: str) -> None:
        """Close the row of an algorithm before its work."""
        self._close(*self._failed(algorithm, StageFailed(reason, message, message, NOTHING_USED)))

    def _failed(self, algorithm: AlgorithmSpec, failure: StageFailed) -> Result:
        message = f"Failed version {algorithm.version}: {failure}"
        self._log.info(message, algorithm=algorithm.algorithm, stage=self._spec.work, tone="bad")
        return failed_outcome(algorithm, failure, self._stages.resources())

    def _require_rows(self, *algorithms: AlgorithmSpec) -> None:
        """Raises StageFailed if another program ended all of these trainings. So nothing appears for a subject that is gone."""
        if cause := self._retry(partial(store.overriding, self._spec, algorithms)):
            raise overridden(cause)

    def _run(self, stage: str, folder: Path, request: BaseModel, *, algorithms: tuple[AlgorithmSpec, ...]) -> Path:
        """As `StageRunner.run`. Raises Superseded if a later attempt works in the models folder."""
        self._fence.require()
        return self._stages.run(stage, folder, request, algorithms=algorithms)

    def _write_input(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write an input of a stage from the database. A killed process leaves no part of it under its name."""
        unfinished = path.with_suffix(".partial")
        self._retry(partial(write, unfinished))
        flush(unfinished)
        unfinished.rename(path)

    def _find_gpu(self) -> None:
        """Check for a GPU in a process of its own. Every attempt repeats the check, because it may run on another machine."""
        folder = self._stages.prepare("find_gpu")
        shutil.rmtree(folder / "out", ignore_errors=True)
        out = self._run("find_gpu", folder, contract.GpuRequest(), algorithms=self._spec.algorithms)
        self._log.info(f"GPU: {read_result(out, contract.GpuResult).name}", stage="find_gpu")

    def _close(self, outcome: AlgorithmOutcome, details: store.OutcomeDetails) -> bool:
        """Write the outcome into the report and the row. False if the row had an end."""
        self._report.add(outcome)
        written = self._retry(partial(store.close_algorithm, self._spec, outcome, details))
        self._report.write()
        if not written and outcome.reason is not Reason.OVERRIDDEN:
            message = f"the row of version {outcome.version} already had a result; this outcome is kept as an event"
            self._log.warn(message, algorithm=outcome.algorithm)
        return written


def overridden(cause: str) -> StageFailed:
    message = f"{cause}; nothing is published"
    return StageFailed(Reason.OVERRIDDEN, message, message, NOTHING_USED)
