"""Train, predict, cancel, retry, promote and roll back: a question first, then the action, with a record of both ends."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from gregory.launch.errors import LaunchError
from gregory.management.runners import reconciler
from gregory.ml import models_folder, promoting
from gregory.ml.config import ALGORITHMS
from gregory.ml.errors import ArtifactError
from gregory.ml.promotion import Promotion, complete_versions, read_promotion
from gregory.models import Subject
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunKind
from gregory.runs.store import RunRefused
from gregory.training.resume import COMMANDS
from gregory.web.commands import CommandRefused, start_command
from gregory.web.scope import folder_of, is_linked, label_of, run_or_404, subject_or_404, user_of

Render = Callable[[HttpRequest, str, str, dict[str, Any]], HttpResponse]
# A cookie takes the message to the next page.
LONGEST_MESSAGE = 1_000
_REFUSALS = (RunRefused, LaunchError, ArtifactError, CommandRefused, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a user entered. algorithms: the chosen ones of an action that offers them."""

    user: str
    reason: str
    algorithms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action that a user confirms. perform: form -> the sentence and the id of the run, empty without one.

    back: the page to which the browser goes, unless a run begins. algorithms: those of which the user chooses.
    """

    name: str
    question: str
    subject_id: int
    label: str
    back: str
    perform: Callable[[Form], tuple[str, str]]
    with_reason: bool = False
    algorithms: tuple[str, ...] = ()


def confirm(request: HttpRequest, action: Action, render: Render) -> HttpResponse:
    """GET: the question. POST: the action. Each is recorded, also a refused one."""
    if request.method in ("GET", "HEAD"):
        return render(request, "web/confirm.html", action.question, {"action": action})
    if request.method != "POST":
        return HttpResponseNotAllowed(["GET", "POST"])
    user = user_of(request).get_username()
    record = partial(store.record_action, by=user, action=action.name, subject_id=action.subject_id, label=action.label)
    try:
        chosen = tuple(name for name in action.algorithms if name in request.POST.getlist("algorithm"))
        if action.algorithms and not chosen:
            raise CommandRefused("choose at least one algorithm")
        sentence, run_id = action.perform(Form(user=user, reason=request.POST.get("reason", "")[:500], algorithms=chosen))
    except _REFUSALS as error:
        record(detail=str(error), done=False)
        messages.error(request, str(error)[:LONGEST_MESSAGE])
        return HttpResponseRedirect(action.back)
    record(detail=sentence, run_id=run_id)
    messages.success(request, sentence[:LONGEST_MESSAGE])
    return HttpResponseRedirect(reverse("admin:run", args=[run_id]) if run_id else action.back)


def cancel(request: HttpRequest, run_id: str) -> Action:
    """End a run. Finished trainings keep their results."""
    run = run_or_404(request, run_id)

    def perform(form: Form) -> tuple[str, str]:
        reconciler().cancel(run, by=f"{form.user} on the operator pages"[:100])
        return f"Run {run_id} is cancelled.", run_id

    return _of_run(run, name="cancel", question=f"Cancel run {run_id}?", perform=perform)


def retry(request: HttpRequest, run_id: str) -> Action:
    """Start the next attempt of a run that ended without success."""
    run = run_or_404(request, run_id)

    def perform(form: Form) -> tuple[str, str]:
        def begun() -> str:
            found = store.find_run(run_id)
            return run_id if found is not None and found.attempt > run.attempt else ""

        start_command(COMMANDS[RunKind(run.kind)], "--resume", run_id, user=form.user, run=begun)
        return f"Run {run_id} has its next attempt.", run_id

    return _of_run(run, name="retry", question=f"Retry run {run_id}?", perform=perform)


def train(request: HttpRequest, subject_id: int) -> Action:
    """Train a subject now."""
    return _command(request, subject_id, name="train", kind=RunKind.TRAIN, question="Train {} now?")


def predict(request: HttpRequest, subject_id: int) -> Action:
    """Predict the articles of a subject now."""
    return _command(request, subject_id, name="predict", kind=RunKind.PREDICT, question="Predict the articles of {} now?")


def promote(request: HttpRequest, subject_id: int, algorithm: str, version: str) -> Action:
    """Let predictions use this version."""
    subject, folder = _folder(request, subject_id, algorithm)
    if version not in complete_versions(folder):
        raise Http404(f"there is no version {version}")

    def perform(form: Form) -> tuple[str, str]:
        seen = promoting.present(folder)
        _refuse(promoting.defects(folder, version))
        done = promoting.promote(folder, version, seen=seen, at=datetime.now(UTC), by=form.user, reason=form.reason)
        return _promoted(algorithm, done), ""

    return _of_subject(subject, name="promote", question=f"Promote {algorithm} {version}?", perform=perform, with_reason=True)


def roll_back(request: HttpRequest, subject_id: int, algorithm: str) -> Action:
    """Promote the version again that was promoted before."""
    subject, folder = _folder(request, subject_id, algorithm)

    def perform(form: Form) -> tuple[str, str]:
        if problem := models_folder.missing(settings.MODELS_DIR):
            raise ArtifactError(problem)
        seen = read_promotion(folder)
        if seen is None or seen.previous is None:
            raise ArtifactError(f"There is no earlier promoted version of {algorithm}; promote a version by its name")
        _refuse(promoting.defects(folder, seen.previous))
        done = promoting.roll_back(folder, seen=seen, at=datetime.now(UTC), by=form.user, reason=form.reason)
        return _promoted(algorithm, done), ""

    return _of_subject(subject, name="rollback", question=f"Roll {algorithm} back?", perform=perform, with_reason=True)


def _promoted(algorithm: str, done: Promotion) -> str:
    return f"The version {done.version} is promoted for {algorithm}."


def _refuse(defects: list[str]) -> None:
    if defects:
        raise ArtifactError("; ".join(defects))


def _folder(request: HttpRequest, subject_id: int, algorithm: str) -> tuple[Subject, Path]:
    subject = subject_or_404(request, subject_id)
    if algorithm not in ALGORITHMS:
        raise Http404(f"there is no algorithm {algorithm}")
    folder = folder_of(subject) / algorithm
    if is_linked(folder):
        raise Http404(f"{folder} is below a symbolic link, which the pages do not follow")
    return subject, folder


def _command(request: HttpRequest, subject_id: int, *, name: str, kind: RunKind, question: str) -> Action:
    subject = subject_or_404(request, subject_id)
    team, _, slug = label_of(subject).partition("/")

    def perform(form: Form) -> tuple[str, str]:
        runs = TrainingRun.objects.filter(subject=subject, kind=kind)
        before = set(runs.values_list("pk", flat=True))

        def begun() -> str:
            return runs.exclude(pk__in=before).values_list("pk", flat=True).first() or ""

        answer = start_command(
            COMMANDS[kind], "--team", team, "--subject", slug, "--algo", ",".join(form.algorithms), user=form.user, run=begun
        )
        run_id = begun()
        return (f"Run {run_id} of {label_of(subject)} has begun.", run_id) if run_id else (answer, "")

    return _of_subject(subject, name=name, question=question.format(label_of(subject)), perform=perform, algorithms=ALGORITHMS)


def _of_run(run: TrainingRun, **given: Any) -> Action:
    return Action(subject_id=run.subject_id, label=store.label_of(run), back=reverse("admin:run", args=[run.run_id]), **given)


def _of_subject(subject: Subject, **given: Any) -> Action:
    return Action(subject_id=subject.pk, label=label_of(subject), back=reverse("admin:subject", args=[subject.pk]), **given)
