"""The actions of users on the operator pages."""

from django.db import transaction
from django.db.models.functions import Now

from gregory.runs.models import OperatorAction
from gregory.runs.store.fencing import sanitize_text

_LONGEST = 4_000


@transaction.atomic
def record_action(*, by: str, action: str, subject_id: int, label: str, run_id: str = "", detail: str = "", done: bool = True) -> None:
    """Write an action of a user. detail: what was done; why it was refused, unless `done`."""
    OperatorAction.objects.create(
        at=Now(),
        by=sanitize_text(by, 150)[:150],
        action=action,
        subject_id=subject_id,
        label=sanitize_text(label, 101)[:101],
        run_id=run_id,
        detail=sanitize_text(detail, _LONGEST),
        done=done,
    )
