"""The permissions of a prediction, and GregoryAI's own predictions beside ours."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from gregory.data import recompute
from gregory.models import PredictionRunLog
from gregory.preflight.finding import Area, Finding
from gregory.preflight.permissions import PREDICTIONS, RECOMPUTATION, missing_grants
from gregory.runs.models import AlgorithmRun
from gregory.runs.spec import RunKind

PREDICTOR_SCRIPT = "docs/sql/predictor.sql"
# The text that GregoryAI's command writes into its rows.
_THEIRS = "predict_articles command"
_RECENT = timedelta(days=30)


def missing_for_predictions(*, recomputes: bool) -> list[str]:
    """The statements that give the role of this process the permissions to write predictions. Empty if it has them."""
    if connection.vendor != "postgresql":
        return []
    needs = {**PREDICTIONS, **(RECOMPUTATION if recomputes and recompute.is_possible() else {})}
    role = connection.ops.quote_name(_query("SELECT current_user")[0][0])
    return list(missing_grants(_query, needs, role=role))


def own_predictions(area: Area) -> Iterator[Finding]:
    """A warning if GregoryAI's own command predicts beside models of this project, which it cannot load or reads with another text."""
    theirs = PredictionRunLog.objects.filter(run_type=RunKind.PREDICT, triggered_by=_THEIRS, run_started__gt=timezone.now() - _RECENT)
    last = theirs.order_by("-run_started").first()
    if last is not None and AlgorithmRun.objects.exclude(artifact_path="").exists():
        yield area.warning(
            f"GregoryAI's own predict_articles ran at {last.run_started:%Y-%m-%d %H:%M} UTC; of this project's models it loads only "
            "LightGBM, and gives it another text than the training",
            "replace its line in cron by: python manage.py predict_articles --all-teams",
        )


def _query(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
