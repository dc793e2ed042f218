"""The page of a run: state, timeline, metrics beside those of the version in use, model card, errors, log and commands."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse

from gregory.launch.errors import LaunchError
from gregory.management.concurrent import situation
from gregory.management.run_logs import readable
from gregory.management.runners import runner_named
from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError
from gregory.ml.files import read_json, read_text
from gregory.ml.metrics import NAMES
from gregory.ml.promotion import chosen_version
from gregory.reporting.summary import result
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.states import RunState
from gregory.runs.store import TrainingRecord
from gregory.web import words
from gregory.web.scope import is_linked, run_or_404
from gregory.web.timeline import timeline

_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """An algorithm of the run with all that the page shows of it. metrics: name, validation, test, and test of the version in use."""

    training: TrainingRecord
    result: str
    error: str
    has_report: bool
    used: str = ""
    metrics: list[tuple[str, str, str, str]] = field(default_factory=list)


def context(run: TrainingRun) -> dict[str, Any]:
    """The values of the template."""
    trainings = store.trainings([run.run_id], with_texts=True).get(run.run_id, [])
    team, subject = store.slugs_of(run)
    return {
        "run": run,
        "label": store.label_of(run),
        "badge": words.badge(run),
        # The words of the state have a short one.
        "detail": run.detail if run.detail not in situation(run) else "",
        "is_final": RunState(run.state).is_final,
        "facts": _facts(run),
        "steps": timeline(run, trainings),
        "trained": [_trained(run, training, team, subject) for training in trainings],
        "events": list(run.events.all()),
        "log": readable(run.log_tail),
        "commands": _commands(run),
        "can_retry": run.state in (RunState.FAILED, RunState.CANCELLED),
    }


def _facts(run: TrainingRun) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("kind", run.kind),
        ("runner", run.runner),
        ("node", run.node),
        ("attempt", run.attempt),
        ("data", store.window_of(run)),
        ("queued", _time(run.queued_at)),
        ("waited", words.duration(run.queued_at, run.started_at)),
        ("worked", words.duration(run.started_at, run.finished_at)),
        ("ended", _time(run.finished_at)),
        ("cancelled by", run.cancelled_by),
        ("exit code", "" if run.exit_code is None else run.exit_code),
        ("process, container or Job", run.external_name),
        ("image", run.image_digest),
    ]
    return [(name, value) for name, value in facts if value not in ("", words.MISSING)]


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else ""


def _trained(run: TrainingRun, training: TrainingRecord, team: str, subject: str) -> Trained:
    used, in_use = _in_use(team, subject, training.algorithm)
    metrics = words.mapping(training.record.metrics)
    rows = [
        (
            name,
            words.figure(metrics.get(f"val_{name}")),
            words.figure(metrics.get(f"test_{name}")),
            words.figure(in_use.get(f"test_{name}")),
        )
        for name in NAMES
    ]
    return Trained(
        training=training,
        result=result(training),
        error=(training.row.error_message or "") if training.row else "",
        has_report=bool(training.record.artifact_path),
        used=used,
        metrics=rows if metrics else [],
    )


def _in_use(team: str, subject: str, algorithm: str) -> tuple[str, Mapping[str, Any]]:
    """The version that predictions use, and its metrics. Empty if there is none, or if its files cannot be read."""
    try:
        chosen = chosen_version(artifacts.subject_folder(settings.MODELS_DIR, team=team, subject=subject), algorithm)
        metrics = read_json(chosen.folder / artifacts.METRICS) if chosen else {}
    except (ArtifactError, OSError):
        return "", {}
    return chosen.name if chosen else "", words.mapping(metrics)


def _commands(run: TrainingRun) -> list[str]:
    commands = [f"python manage.py training_runs {action} {run.run_id}" for action in ("show", "logs")]
    if run.submitted_at is not None or run.started_at is not None:
        # This machine may have no access to the back end.
        with suppress(LaunchError):
            commands += runner_named(run.runner).debug_commands(store.attempt_of(run), store.handle_of(run))
    return commands


def report(request: HttpRequest, run_id: str, algorithm: str) -> HttpResponse:
    """The model card of a training, for a frame. A run wrote it, so no browser may execute anything of it."""
    run = run_or_404(request, run_id)
    named = [one for one in store.trainings([run_id]).get(run_id, []) if one.algorithm == algorithm and one.record.artifact_path]
    card = _card(run, named[-1]) if named else None
    if card is None:
        raise Http404(f"run {run_id} has no model card of {algorithm}")
    headers = {"Content-Security-Policy": _REPORT_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HttpResponse(card, headers=headers)


def _card(run: TrainingRun, training: TrainingRecord) -> str | None:
    """The text of the card. A run can write its row and its folder, so the place must be one of its subject, without links."""
    team, subject = store.slugs_of(run)
    place = [team, subject, training.algorithm, training.version]
    if not all(artifacts.is_folder_name(name) for name in place):
        return None
    folder = settings.MODELS_DIR.joinpath(*place)
    if is_linked(folder):
        return None
    try:
        return read_text(folder / artifacts.MODEL_CARD)
    except (ArtifactError, OSError):
        return None
