"""One attempt of a run, from the claim to its end. Every row gets its result here, or a reconciler writes it later."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.db import InterfaceError, OperationalError

from gregory.database import run_token, waits
from gregory.env import Environment
from gregory.launch import processes
from gregory.ml import models_folder, parent_watch
from gregory.ml.errors import TrainingError
from gregory.ml.stages.contract import kind_of
from gregory.output import one_line
from gregory.runs import exit_codes, recovery, report_key, store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.heartbeat import HEARTBEAT_SECONDS
from gregory.runs.reasons import Reason
from gregory.runs.spec import PredictSpec, RunHandle, RunSpec, TrainSpec
from gregory.runs.states import RunState
from gregory.shutdown import ShutdownRequest
from job import attempt_folder
from job.database_retry import DatabaseRetry
from job.event_log import EventLogger
from job.fence import SUPERSEDED, Fence, Superseded
from job.heartbeats import RepeatedCall
from job.outcome_report import OutcomeReport
from job.pipeline import Pipeline
from job.prediction import PredictionPipeline
from job.supervise import StageFailed
from job.training import TrainingPipeline

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def execute(spec: RunSpec, handle: RunHandle | None, environment: Environment) -> int:
    """Claim the run, execute it and finish it. Return the exit code. handle: the container or Job of this process, if there is one."""
    shutdown = ShutdownRequest()
    # A runner ends a run with SIGTERM.
    shutdown.listen(SIGNALS, always={signal.SIGTERM})
    if environment.GREGORY_LIFELINE:
        parent_watch.watch(sys.stdin.fileno(), lambda: shutdown.request("interrupted: the command that started the run is gone"))
    log = EventLogger(spec, sys.stdout, event_format=environment.GREGORY_EVENT_FORMAT)
    key = report_key.new_key(spec.attempt)
    report = OutcomeReport(spec, key=key, models_dir=settings.MODELS_DIR, termination_log=environment.GREGORY_TERMINATION_LOG)
    attempt = _Attempt(spec, log, shutdown, report, key=key, retried=environment.GREGORY_RETRIED)
    try:
        with waits.shortened_by(lambda: shutdown.requested), run_token.of_attempt(spec.attempt_token):
            code = attempt.execute(handle or processes.handle_of(os.getpid()), node=environment.GREGORY_NODE_NAME)
    except (OperationalError, InterfaceError) as error:
        code = attempt.give_up(error)
    log.close()
    return code


class _Attempt:
    """Executes one attempt and records its end, in the rows and in the outcome report."""

    def __init__(
        self, spec: RunSpec, log: EventLogger, shutdown: ShutdownRequest, report: OutcomeReport, *, key: str, retried: bool
    ) -> None:
        """key: the secret of this process, from `report_key`.

        retried: after an interruption, a reconciler opens the next attempt or closes the open rows.
        """
        self._spec = spec
        self._log = log
        self._shutdown = shutdown
        self._report = report
        self._key = key
        self._retried = retried
        self._retry = DatabaseRetry(shutdown, report)
        self._fence = Fence(settings.MODELS_DIR, spec)

    def execute(self, handle: RunHandle, *, node: str) -> int:
        """The exit code. Raises OperationalError or InterfaceError if the database stays out of reach."""
        spec, log = self._spec, self._log
        claim = partial(store.claim, spec, handle, image_digest=settings.IMAGE_DIGEST, key=self._key, node=node, again=self._retried)
        if not self._retry(claim):
            log.warn(f"attempt {spec.attempt} was superseded, has ended or runs in another process; nothing is done")
            return exit_codes.FAILURE
        self._spec = self._retry(partial(store.with_recorded_versions, spec))
        watch: RepeatedCall | None = None
        try:
            self._take_fence()
            watch = RepeatedCall(self._check_fence, seconds=HEARTBEAT_SECONDS, after=None)
            self._work()
        except Superseded as superseded:
            return self._superseded(superseded)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - the rows must have every error
            if self._fence.is_lost():
                # The later start removed the files of this one.
                return self._superseded(error)
            if isinstance(error, StageFailed) and error.reason is Reason.INTERRUPTED:
                return self._interrupted(error)
            reason, described, message = _described(error)
            if self._report.is_publishing and not self._close_published():
                return self._leave_open(f"the models folder does not tell whether a model was published: {message}")
            self._close_open_rows(reason=reason, error=described, message=message)
        finally:
            if watch is not None:
                watch.close()
        return self._finish()

    def _take_fence(self) -> None:
        """Raises Superseded if a later start of the run works in the models folder. Without a models folder, the rows get that cause."""
        if models_folder.missing(settings.MODELS_DIR):
            return
        if not self._fence.take(lambda: self._retry(partial(store.claim_key, self._spec)) == self._key):
            raise Superseded(SUPERSEDED)

    def _check_fence(self) -> None:
        """Request the end if a later start has the fence. The database has the same fact and may be out of reach."""
        if self._fence.is_lost():
            self._shutdown.request(SUPERSEDED)

    def _work(self) -> None:
        """Work on the algorithms of the open rows."""
        spec = self._spec
        # An earlier start of this run may have published a model and ended before it wrote the row.
        # The process that opened this attempt may have no access to the models folder.
        self._retry(partial(recovery.close_published, spec, models_dir=settings.MODELS_DIR))
        still_open = self._retry(partial(store.open_algorithms, spec))
        remaining = tuple(algorithm for algorithm in spec.algorithms if algorithm.run_log_id in still_open)
        if remaining:
            self._pipeline(spec.model_copy(update={"algorithms": remaining})).run()

    def _pipeline(self, spec: RunSpec) -> Pipeline[Any]:
        pipeline: Callable[..., Pipeline[Any]] = partial(TrainingPipeline, cast(TrainSpec, spec))
        if isinstance(spec, PredictSpec):
            pipeline = partial(PredictionPipeline, spec)
        return pipeline(
            self._log,
            self._shutdown,
            self._report,
            models_dir=settings.MODELS_DIR,
            bundle_dir=settings.BASE_MODELS_DIR,
            fence=self._fence,
        )

    def _close_published(self) -> bool:
        """Close the row of a model that got its version folder before an error. False if the models folder cannot be read."""
        try:
            self._retry(partial(recovery.close_published, self._spec, models_dir=settings.MODELS_DIR))
        except OSError:
            return False
        return True

    def give_up(self, error: OperationalError | InterfaceError) -> int:
        """End without the database. The outcome report keeps the results, so that no finished training is repeated."""
        if self._fence.is_lost():
            return self._superseded(error)
        return self._leave_open(f"the database could not be reached: {one_line(str(error))}")

    def _leave_open(self, cause: str) -> int:
        """End without the ends of the open rows. The outcome report has the cause and the known results."""
        self._report.give_up(f"{self._shutdown.reason}; {cause}" if self._shutdown.requested else cause)
        self._report.write()
        self._log.info(f"Giving up: {cause}; the outcome report is kept for reconcile_runs", tone="bad")
        return exit_codes.SIGTERM if self._shutdown.requested else exit_codes.FAILURE

    def _superseded(self, cause: Exception) -> int:
        """End without a result. The later start writes the rows and the report."""
        self._log.info(f"{SUPERSEDED}; nothing is written" + ("" if str(cause) == SUPERSEDED else f": {cause}"), tone="bad")
        return exit_codes.FAILURE

    def _interrupted(self, failure: StageFailed) -> int:
        """Close the open rows. If the run can be retried, leave them open: the reconciler knows the cause and continues the run."""
        if self._retried:
            self._report.give_up(failure.error)
            self._report.write()
            self._log.info(f"Interrupted: {failure}; reconcile_runs closes the open rows or retries the run")
            return exit_codes.SIGTERM
        announced = self._retry(partial(store.announced_end, self._spec))
        end = announced or Diagnosis(reason=Reason.INTERRUPTED, summary=self._shutdown.reason)
        # The signal is only the means of an announced end.
        error = f"{announced.summary} {failure.where}" if announced else failure.error
        self._close_open_rows(reason=end.reason, error=error, message=error)
        if not self._retry(partial(store.unsuccessful, self._spec)):
            return self._succeed()
        state = RunState.FAILED if end.reason is Reason.STALLED else RunState.CANCELLED
        self._finish_run(state, replace(end, exit_code=exit_codes.SIGTERM))
        return exit_codes.SIGTERM

    def _close_open_rows(self, *, reason: Reason | None, error: str, message: str) -> None:
        self._report.fail_the_rest(reason=reason, error=error)
        closed = self._retry(partial(store.fail_open_rows, self._spec, reason=reason, error=error))
        if not closed:
            self._log.info(f"Failed: {message}", tone="bad")
        for algorithm in closed:
            self._log.info(f"Failed version {algorithm.version}: {message}", algorithm=algorithm.algorithm, tone="bad")
        self._report.write()

    def _finish(self) -> int:
        failed = self._retry(partial(store.unsuccessful, self._spec))
        if not failed:
            return self._succeed()
        reason = self._retry(partial(store.failure_reason, self._spec))
        end = Diagnosis(reason=reason, summary=f"failed: {', '.join(failed)}", exit_code=exit_codes.FAILURE)
        self._finish_run(RunState.CANCELLED if reason is Reason.CANCELLED else RunState.FAILED, end)
        return exit_codes.FAILURE

    def _succeed(self) -> int:
        self._finish_run(RunState.SUCCEEDED, SUCCEEDED)
        # The version folders have all results of a successful run.
        folder = self._spec.folder(settings.MODELS_DIR)
        attempt_folder.remove_all(folder)
        with suppress(OSError):
            self._report.remove()
            self._fence.remove()
            # Fails if a runner keeps its logs in this folder.
            folder.path.rmdir()
        return exit_codes.SUCCESS

    def _finish_run(self, state: RunState, end: Diagnosis) -> None:
        self._retry(partial(store.finish_run, self._spec, state, end))


def _described(error: Exception) -> tuple[Reason, str, str]:
    """The reason, the whole text and the message of an error that ends the run."""
    if isinstance(error, StageFailed):
        # Its text has the traceback of the worker. That of this process would add nothing.
        return error.reason, error.error, str(error)
    message = str(error) if isinstance(error, TrainingError) else f"{type(error).__name__}: {error}"
    return Reason(kind_of(error)), traceback.format_exc(), message
