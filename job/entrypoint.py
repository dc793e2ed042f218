"""One run from claim to end: corpus, stages, publishing, and the row of every algorithm closed with the truth."""

import os
import shutil
import sys
import traceback
from contextlib import suppress
from functools import partial

from django.conf import settings

from gregory.launch import processes
from gregory.ml.errors import TrainingError
from gregory.ml.stages.contract import kind_of
from gregory.runs import ledger
from gregory.runs.names import Reason, RunState
from gregory.runs.persistence import durably
from gregory.runs.spec import RunHandle, RunSpec
from job.interruption import Interruption
from job.pipeline import Pipeline
from job.supervise import StageFailed
from job.voice import Voice

SUCCESS, FAILURE, TERMINATED = 0, 1, 143


def carry_out(spec: RunSpec, handle: RunHandle | None, *, event_format: str, lifeline: bool) -> int:
    """Claim the run, carry it out and end it; the exit code. handle: the container or Job around this process, if it is that."""
    interruption = Interruption()
    interruption.listen(with_lifeline=lifeline)
    voice = Voice(spec, sys.stdout, event_format=event_format)
    if not durably(partial(ledger.claim, spec, handle or processes.handle_of(os.getpid()), image_digest=settings.IMAGE_DIGEST)):
        voice.warn(f"attempt {spec.attempt} was superseded, has ended or runs elsewhere; nothing done")
        return FAILURE
    pipeline = Pipeline(spec, voice, interruption, models_dir=settings.MODELS_DIR, bundle_dir=settings.BASE_MODELS_DIR)
    try:
        pipeline.run()
    except StageFailed as failure:
        # Its own account is whole; a traceback of the supervisor would only bury it.
        _close_open_rows(spec, voice, reason=failure.reason, error=failure.report, message=str(failure))
    except TrainingError as error:
        _close_open_rows(spec, voice, reason=Reason(kind_of(error)), error=traceback.format_exc(), message=str(error))
    except Exception as error:  # noqa: BLE001 - the run's door: whatever happened must reach the rows
        _close_open_rows(spec, voice, reason=Reason.ERROR, error=traceback.format_exc(), message=f"{type(error).__name__}: {error}")
    code = _end(spec, pipeline, interruption)
    voice.close()
    return code


def _close_open_rows(spec: RunSpec, voice: Voice, *, reason: Reason, error: str, message: str) -> None:
    for algorithm in durably(partial(ledger.fail_open_rows, spec, reason=reason, error=error)):
        voice.say(f"Failed version {algorithm.version}: {message}", algorithm=algorithm.algorithm, tone="bad")


def _end(spec: RunSpec, pipeline: Pipeline, interruption: Interruption) -> int:
    finish = partial(ledger.finish_run, spec)
    succeeded = durably(partial(ledger.successes, spec))
    failed = [algorithm.algorithm for algorithm in spec.algorithms if algorithm.run_log_id not in succeeded]
    if failed and interruption.requested:
        durably(partial(finish, RunState.CANCELLED, reason=Reason.INTERRUPTED, detail=interruption.reason, exit_code=TERMINATED))
        return TERMINATED
    if failed:
        reason = durably(partial(ledger.failure_reason, spec))
        durably(partial(finish, RunState.FAILED, reason=reason, detail=f"failed: {', '.join(failed)}", exit_code=FAILURE))
        return FAILURE
    durably(partial(finish, RunState.SUCCEEDED, exit_code=SUCCESS))
    # What a run that ended well leaves is in its version folders.
    shutil.rmtree(pipeline.stages_dir, ignore_errors=True)
    with suppress(OSError):
        # Unless a runner keeps its logs there.
        pipeline.stages_dir.parent.rmdir()
    return SUCCESS
