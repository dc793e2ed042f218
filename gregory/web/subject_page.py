"""The page of a subject: versions of each algorithm with their metrics over time, the version in use, reviews and newest runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Count, Q

from gregory.ml import catalogue, models_folder
from gregory.ml.catalogue import Entry
from gregory.ml.errors import ArtifactError
from gregory.ml.promotion import read_promotion
from gregory.models import ArticleSubjectRelevance, Subject
from gregory.runs.models import TrainingRun
from gregory.web import words
from gregory.web.scope import is_linked, label_of

_DRAWN = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC", "f1": "F1", "precision": "precision", "recall": "recall", "accuracy": "accuracy"}
_LISTED = ("roc_auc", "pr_auc", "f1")
_WIDTH, _HEIGHT, _MARGIN = 320.0, 96.0, 6.0
NEWEST_RUNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A metric, or the share of relevant articles, over the versions, oldest first.

    points: of an SVG polyline. newest: its last value. dots: the same, one by one.
    """

    name: str
    key: str
    points: str
    dots: list[tuple[float, float]]
    newest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """An algorithm with its versions, newest first. used: that of predictions. previous: the version to which a rollback goes."""

    name: str
    used: str
    entries: list[tuple[Entry, list[str]]]
    lines: list[Line]
    previous: str | None
    problem: str


def context(subject: Subject) -> dict[str, Any]:
    """The values of the template."""
    reviews = ArticleSubjectRelevance.objects.filter(subject=subject).aggregate(
        relevant=Count("pk", filter=Q(is_relevant=True)), not_relevant=Count("pk", filter=Q(is_relevant=False))
    )
    runs = TrainingRun.objects.filter(subject=subject).defer("log_tail").order_by("-queued_at")[:NEWEST_RUNS]
    algorithms = _algorithms(subject)
    return {
        "subject": subject,
        "label": label_of(subject),
        "reviews": reviews,
        "articles": subject.articles.count(),
        "algorithms": algorithms,
        "comparable": sum(len(one.entries) for one in algorithms) > 1,
        "runs": [(run, words.badge(run)) for run in runs],
        "chart": {"width": _WIDTH, "height": _HEIGHT},
    }


def _algorithms(subject: Subject) -> list[Algorithm]:
    if problem := models_folder.missing(settings.MODELS_DIR):
        return [_unreadable(problem)]
    try:
        team = subject.team.slug if subject.team else ""
        folders = list(catalogue.algorithm_folders(settings.MODELS_DIR, team=team, subject=subject.subject_slug))
        return [_algorithm(folder) for folder in folders if not is_linked(folder)]
    except OSError as error:
        return [_unreadable(f"the models folder cannot be read: {error}")]


def _unreadable(problem: str) -> Algorithm:
    return Algorithm(name="models", used="", entries=[], lines=[], previous=None, problem=problem)


def _algorithm(folder: Path) -> Algorithm:
    entries, problem, previous = catalogue.entries(folder), "", None
    try:
        promotion = read_promotion(folder)
        previous = promotion.previous if promotion else None
    except ArtifactError as error:
        problem = str(error)
    shown = [(entry, [words.figure(entry.metrics.get(f"test_{key}")) for key in _LISTED]) for entry in entries]
    oldest_first = entries[::-1]
    used = next((entry.version for entry in entries if entry.used), "")
    return Algorithm(name=folder.name, used=used, entries=shown, lines=_lines(oldest_first), previous=previous, problem=problem)


def _lines(entries: Sequence[Entry]) -> list[Line]:
    metrics = [_line(name, key, [entry.metrics.get(f"test_{key}") for entry in entries]) for key, name in _DRAWN.items()]
    return [*metrics, _line("share relevant", "relevant", [entry.relevant for entry in entries])]


def _line(name: str, key: str, found: Sequence[float | None]) -> Line:
    """A version without the value has no point."""
    values = [(number, value) for number, value in enumerate(found) if value is not None]
    step = (_WIDTH - 2 * _MARGIN) / max(len(found) - 1, 1)
    dots = [
        (round(_MARGIN + number * step, 1), round(_MARGIN + (1 - min(max(value, 0.0), 1.0)) * (_HEIGHT - 2 * _MARGIN), 1))
        for number, value in values
    ]
    return Line(
        name=name,
        key=key,
        points=" ".join(f"{x},{y}" for x, y in dots),
        dots=dots,
        newest=words.figure(values[-1][1]) if values else words.MISSING,
    )
