"""The page that compares two versions of a subject, with the probabilities that both keep. It asks no model."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from gregory.management.model_comparison import Versions, compared
from gregory.ml import models_folder
from gregory.ml.comparison import MINIMUM, Comparison, Conclusion, Flip
from gregory.ml.config import ALGORITHMS
from gregory.ml.errors import ArtifactError, TrainingError
from gregory.ml.promotion import chosen_version, complete_versions
from gregory.models import Articles, Subject
from gregory.reporting.comparison import articles, figures
from gregory.training.request import UsageError
from gregory.web.scope import folder_of, is_linked, label_of

# A comparison is a process that reads every byte of both versions. Any number of them would stop the pages.
_one_at_a_time = threading.Lock()
_SENTENCES: dict[Conclusion, str] = {
    "better": "{second} is better than {first}.",
    "worse": "{second} is worse than {first}.",
    "cannot be told": "It cannot be told whether {second} is better or worse than {first}.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flipped:
    """An article that only one of the versions selects. title: empty if the subject has it no longer."""

    flip: Flip
    title: str
    second_selects: bool


def context(request: HttpRequest, subject: Subject) -> dict[str, Any]:
    """The values of the template, from the parameters `first` and `second`, ALGORITHM/VERSION. Without both, only the form."""
    shown: dict[str, Any] = {"subject": subject, "label": label_of(subject)}
    try:
        shown["names"] = names = _versions(folder_of(subject))
        first, second = (request.GET.get(name, "") for name in ("first", "second"))
        shown |= {"first": first or _in_use(folder_of(subject), names), "second": second}
        if unknown := [name for name in (first, second) if name and name not in names]:
            raise UsageError(f"there is no version {unknown[0]} of this subject: choose two of the list")
        return shown | (_compared(subject, first, second) if first and second else {})
    except (UsageError, TrainingError, OSError) as error:
        return shown | {"problem": str(error)}


def _versions(folder: Path) -> list[str]:
    """ALGORITHM/VERSION of all versions, newest first. Raises ArtifactError and OSError."""
    if problem := models_folder.missing(settings.MODELS_DIR):
        raise ArtifactError(problem)
    kept = [name for name in ALGORITHMS if not is_linked(folder / name)]
    return [f"{name}/{version}" for name in kept for version in reversed(complete_versions(folder / name))]


def _in_use(folder: Path, names: list[str]) -> str:
    """The version in use of the first algorithm. Empty without a version. Raises ArtifactError and OSError."""
    algorithm = names[0].partition("/")[0] if names else ""
    chosen = chosen_version(folder, algorithm) if algorithm else None
    return f"{algorithm}/{chosen.name}" if chosen else ""


def _compared(subject: Subject, first: str, second: str) -> dict[str, Any]:
    if first == second:
        raise UsageError(f"{first} cannot be compared with itself: choose two versions")
    if not _one_at_a_time.acquire(blocking=False):
        raise UsageError("another comparison is at work: open this page again in a minute")
    try:
        found = compared(
            Versions(first=folder_of(subject) / first, second=folder_of(subject) / second), minimum=MINIMUM, ask=False, say=str
        )
    finally:
        _one_at_a_time.release()
    return {
        "comparison": found,
        "conclusion": _SENTENCES[found.conclusion].format(first=first, second=second),
        "articles": articles(found),
        "figures": figures(found),
        "flips": _flips(subject, found),
    }


def _flips(subject: Subject, comparison: Comparison) -> list[Flipped]:
    ids = [flip.article_id for flip in comparison.flips]
    titles = dict(Articles.objects.filter(pk__in=ids, subjects=subject).values_list("pk", "title"))
    return [
        Flipped(flip=flip, title=titles.get(flip.article_id, ""), second_selects=flip.second >= comparison.thresholds[1])
        for flip in comparison.flips
    ]
