"""The fence around every write: the row that an attempt may still change, and the events for late reports."""

from django.db import models, transaction
from django.db.models.functions import Now

from gregory.output import visible
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.spec import Attempt
from gregory.runs.states import FINAL_STATES

# The stage of a training whose model is about to get its version folder, or has it.
PUBLISH = "publish"
# The stage of a training whose end this project has written.
ENDED = "ended"
FINAL = sorted(state.value for state in FINAL_STATES)


def current(spec: Attempt) -> models.QuerySet[TrainingRun]:
    """The run's row if it has not ended and this attempt is the current one, else no row."""
    return TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token).exclude(state__in=FINAL)


@transaction.atomic(savepoint=False)
def hold(spec: Attempt) -> bool:
    """Lock the run until the end of the transaction, with a heartbeat. False if it has ended, or if another attempt is the current one."""
    return bool(current(spec).update(heartbeat_at=Now()))


@transaction.atomic(savepoint=False)
def record_event(run_id: str, kind: str, message: str) -> None:
    """Write an event of a run. A run that was deleted with its subject gets none."""
    if TrainingRun.objects.filter(pk=run_id).exists():
        RunEvent.objects.create(run_id=run_id, at=Now(), kind=kind, message=sanitize_text(message, 10_000))


def sanitize_text(text: str, limit: int) -> str:
    """The visible text: PostgreSQL refuses NUL and halves of characters. Its head is cut, because its end names the cause."""
    text = visible(text)
    return text if len(text) <= limit else f"[{len(text) - limit} characters cut]\n{text[-limit:]}"
