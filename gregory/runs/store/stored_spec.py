"""The stored specification of a run, of this version or of another one."""

from typing import Any

from pydantic import ValidationError

from gregory.models import PredictionRunLog
from gregory.output import one_line
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.spec import Attempt, RunSpec, Scope, Training

UNKNOWN = "unknown"


def attempt_of(run: TrainingRun) -> Attempt:
    """The current attempt of a run: a RunSpec, or the part that this version understands if another version specified it."""
    try:
        return RunSpec.model_validate(run.spec)
    except ValidationError:
        return _understood(run)


def slugs_of(run: TrainingRun) -> tuple[str, str]:
    """The slugs of team and subject."""
    # Each use of the attribute parses the specification.
    spec = run.spec
    return _slug(_of(spec, "team")), _slug(_of(spec, "subject"))


def label_of(run: TrainingRun) -> str:
    """team/subject, by slugs, for messages."""
    return one_line("/".join(slugs_of(run)))


def window_of(run: TrainingRun) -> str:
    """The data window in words. Empty if this version does not understand it."""
    words = _of(_of(run.spec, "window"), "description")
    return words if isinstance(words, str) else ""


def specified_trainings(spec: Any) -> dict[int, tuple[str, str]]:
    """Algorithm and version of each training in a stored specification, by the id of its row."""
    algorithms = _of(spec, "algorithms")
    named = [(_of(one, "run_log_id"), _of(one, "algorithm"), _of(one, "version")) for one in algorithms or ()]
    return {pk: (str(algorithm), str(version)) for pk, algorithm, version in named if isinstance(pk, int)}


def _understood(run: TrainingRun) -> Attempt:
    """Only the slugs are from the specification, because the rows have all else."""
    number = _of(run.spec, "schema_number")
    return Attempt(
        schema_number=number if isinstance(number, int) else 0,
        run_id=run.run_id,
        attempt=run.attempt,
        attempt_token=run.attempt_token,
        team=_scope(run, "team"),
        subject=_scope(run, "subject"),
        algorithms=_trainings(run),
    )


def _trainings(run: TrainingRun) -> tuple[Training, ...]:
    """The latest row of each algorithm. A row that ended in an earlier attempt stays as it is."""
    rows = AlgorithmRun.objects.filter(run_id=run.run_id).order_by("position", "pk").values_list("position", "run_log_id")
    ids = list(dict(rows).values())
    # GregoryAI may have deleted a row of its table.
    known = PredictionRunLog.objects.in_bulk(ids)
    facts = ((number, known.get(number)) for number in ids)
    return tuple(
        Training(algorithm=(row.algorithm if row else None) or UNKNOWN, run_log_id=number, version=row.model_version if row else "")
        for number, row in facts
    )


def _scope(run: TrainingRun, name: str) -> Scope:
    scope = _of(run.spec, name)
    number = _of(scope, "id")
    return Scope(id=number if isinstance(number, int) else 0, slug=_slug(scope))


def _slug(scope: Any) -> str:
    slug = _of(scope, "slug")
    return slug if isinstance(slug, str) and slug else UNKNOWN


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
