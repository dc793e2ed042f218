"""The fence around every write: which row an attempt may still change, and where what came too late is kept."""

from django.db import models
from django.db.models.functions import Now

from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.spec import RunSpec
from gregory.runs.states import FINAL_STATES

FINAL = sorted(state.value for state in FINAL_STATES)


def current(spec: RunSpec) -> models.QuerySet[TrainingRun]:
    """The run's row, as long as this attempt is the one that may write it."""
    return TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token).exclude(state__in=FINAL)


def record_event(run_id: str, kind: str, message: str) -> None:
    """Keep something that happened to a run. A run that is gone (deleted with its subject) has nothing to keep it in."""
    if TrainingRun.objects.filter(pk=run_id).exists():
        RunEvent.objects.create(run_id=run_id, at=Now(), kind=kind, message=sanitize_text(message, 10_000))


def sanitize_text(text: str, limit: int) -> str:
    """Text as PostgreSQL takes it: no NUL, no lone surrogates; cut at its head, since the end says what happened."""
    text = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else f"[{len(text) - limit} characters cut]\n{text[-limit:]}"
