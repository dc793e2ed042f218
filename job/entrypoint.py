"""One run from claim to end: corpus, stages, publishing, and the row of every algorithm closed with the truth."""

import os
import shutil
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from functools import partial

from django.conf import settings
from django.db import InterfaceError, OperationalError

from gregory.env import Environment
from gregory.launch import processes
from gregory.ml.errors import TrainingError
from gregory.ml.stages.contract import kind_of
from gregory.runs import exit_codes, recovery, store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState
from job.database_retry import DatabaseRetry
from job.event_log import EventLogger
from job.outcome_report import OutcomeReport
from job.pipeline import Pipeline
from job.shutdown import ShutdownRequest
from job.supervise import StageFailed

TERMINATED = exit_codes.SIGTERM


def execute(spec: RunSpec, handle: RunHandle | None, environment: Environment) -> int:
    """Claim the run, carry it out and end it; the exit code. handle: the container or Job around this process, if it is that."""
    interruption = ShutdownRequest()
    interruption.listen(watch_parent=environment.GREGORY_LIFELINE)
    voice = EventLogger(spec, sys.stdout, event_format=environment.GREGORY_EVENT_FORMAT)
    account = OutcomeReport(spec, models_dir=settings.MODELS_DIR, termination_log=environment.GREGORY_TERMINATION_LOG)
    run = _Run(spec, voice, interruption, account, retried=environment.GREGORY_RETRIED)
    try:
        code = run.execute(handle or processes.handle_of(os.getpid()), node=environment.GREGORY_NODE_NAME)
    except (OperationalError, InterfaceError) as error:
        code = run.give_up(error)
    voice.close()
    return code


class _Run:
    """One attempt, and whom it tells of its end: the rows first, then the account beside them."""

    def __init__(self, spec: RunSpec, voice: EventLogger, interruption: ShutdownRequest, account: OutcomeReport, *, retried: bool) -> None:
        """retried: somebody else opens the next attempt, or closes what is open after an interruption."""
        self._spec = spec
        self._voice = voice
        self._interruption = interruption
        self._account = account
        self._retried = retried
        self._durably = DatabaseRetry(interruption, account).retry_on_disconnect

    def execute(self, handle: RunHandle, *, node: str) -> int:
        """The exit code. Raises OperationalError or InterfaceError where the database stays away."""
        spec, voice = self._spec, self._voice
        claim = partial(store.claim, spec, handle, image_digest=settings.IMAGE_DIGEST, node=node, again=self._retried)
        if not self._durably(claim):
            voice.warn(f"attempt {spec.attempt} was superseded, has ended or runs elsewhere; nothing done")
            return exit_codes.FAILURE
        # Whoever opened this attempt may not see the models, and the start before it may have died between folder and row.
        self._durably(partial(recovery.close_published, spec, models_dir=settings.MODELS_DIR))
        still_open = self._durably(partial(store.open_algorithms, spec))
        remaining = tuple(algorithm for algorithm in spec.algorithms if algorithm.run_log_id in still_open)
        pipeline = Pipeline(
            spec.model_copy(update={"algorithms": remaining}),
            voice,
            self._interruption,
            self._account,
            models_dir=settings.MODELS_DIR,
            bundle_dir=settings.BASE_MODELS_DIR,
        )
        try:
            if remaining:
                pipeline.run()
        except StageFailed as failure:
            if failure.reason is Reason.INTERRUPTED:
                return self._interrupted(failure, pipeline)
            # Its own account is whole; a traceback of the supervisor would only bury it.
            self._close_open_rows(reason=failure.reason, error=failure.report, message=str(failure))
        except TrainingError as error:
            self._close_open_rows(reason=Reason(kind_of(error)), error=traceback.format_exc(), message=str(error))
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - the run's door: whatever happened must reach the rows
            self._close_open_rows(reason=Reason.ERROR, error=traceback.format_exc(), message=f"{type(error).__name__}: {error}")
        return self._end(pipeline)

    def give_up(self, error: OperationalError | InterfaceError) -> int:
        """The database stays away: what has ended is told beside it, and nothing that was trained is trained again for that."""
        why = f"the database could not be reached: {' '.join(str(error).split())}"
        self._account.give_up(f"{self._interruption.reason}; {why}" if self._interruption.requested else why)
        self._account.write()
        self._voice.info(f"Giving up: {why}; what has ended is kept for reconcile_runs", tone="bad")
        return TERMINATED if self._interruption.requested else exit_codes.FAILURE

    def _interrupted(self, failure: StageFailed, pipeline: Pipeline) -> int:
        """What is open is closed here, unless somebody else owns it, who may know better why the run had to end, and go on with it."""
        if self._retried:
            self._account.give_up(failure.report)
            self._account.write()
            self._voice.info(f"Interrupted: {failure}; open rows are left to reconcile_runs")
            return TERMINATED
        announced = self._durably(partial(store.announced_end, self._spec))
        end = announced or Diagnosis(reason=Reason.INTERRUPTED, summary=self._interruption.reason)
        error = f"{announced.summary}: {failure.report}" if announced else failure.report
        self._close_open_rows(reason=end.reason, error=error, message=str(failure))
        if not self._durably(partial(store.unsuccessful, self._spec)):
            return self._succeed(pipeline)
        state = RunState.FAILED if end.reason is Reason.STALLED else RunState.CANCELLED
        self._finish(state, replace(end, exit_code=TERMINATED))
        return TERMINATED

    def _close_open_rows(self, *, reason: Reason | None, error: str, message: str) -> None:
        self._account.fail_the_rest(reason=reason, error=error)
        for algorithm in self._durably(partial(store.fail_open_rows, self._spec, reason=reason, error=error)):
            self._voice.info(f"Failed version {algorithm.version}: {message}", algorithm=algorithm.algorithm, tone="bad")
        self._account.write()

    def _end(self, pipeline: Pipeline) -> int:
        failed = self._durably(partial(store.unsuccessful, self._spec))
        if failed:
            reason = self._durably(partial(store.failure_reason, self._spec))
            self._finish(RunState.FAILED, Diagnosis(reason=reason, summary=f"failed: {', '.join(failed)}", exit_code=exit_codes.FAILURE))
            return exit_codes.FAILURE
        return self._succeed(pipeline)

    def _succeed(self, pipeline: Pipeline) -> int:
        self._finish(RunState.SUCCEEDED, SUCCEEDED)
        # What a run that ended well leaves is in its version folders.
        shutil.rmtree(pipeline.stages_dir, ignore_errors=True)
        with suppress(OSError):
            self._account.remove()
            # Unless a runner keeps its logs there.
            pipeline.stages_dir.parent.rmdir()
        return exit_codes.SUCCESS

    def _finish(self, state: RunState, end: Diagnosis) -> None:
        self._durably(partial(store.finish_run, self._spec, state, end))
