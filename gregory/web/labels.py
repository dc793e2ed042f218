"""The page on which a user labels articles, by keyboard or by buttons."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from gregory.data import labelling
from gregory.data.imports.errors import ImportRefused
from gregory.data.place import refuse_foreign_database
from gregory.ml.config import ALGORITHMS
from gregory.ml.errors import ArtifactError
from gregory.ml.promotion import chosen_version
from gregory.models import Subject
from gregory.runs import store
from gregory.web.scope import LABEL, folder_of, label_of, require, subject_or_404, user_of

# Articles of one page.
BATCH = 20
_ANSWERS = {"1": True, "0": False}


def context(subject: Subject) -> dict[str, Any]:
    """The values of the template. Raises ImportRefused if the database is GregoryAI's own."""
    refuse_foreign_database()
    return {"subject": subject, "candidates": labelling.candidates(subject.pk, _versions(subject), limit=BATCH)}


def save(request: HttpRequest, subject_id: int, article_id: int) -> HttpResponse:
    """Store one label, and answer a script with JSON and a form with the page."""
    require(request, LABEL)
    subject = subject_or_404(request, subject_id)
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    answer = request.POST.get("label", "")
    if answer not in _ANSWERS:
        return JsonResponse({"error": f"label {answer!r} must be 1 or 0"}, status=400)
    try:
        if not labelling.label(subject, article_id, relevant=_ANSWERS[answer]):
            raise Http404(f"there is no article {article_id}")
    except ImportRefused as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("admin:subject", args=[subject_id]))
    detail = f"article {article_id}: {'relevant' if _ANSWERS[answer] else 'not relevant'}"
    store.record_action(by=user_of(request).get_username(), action="label", subject_id=subject_id, label=label_of(subject), detail=detail)
    if request.accepts("text/html"):
        return HttpResponseRedirect(reverse("admin:label", args=[subject_id]))
    return JsonResponse({"article": article_id, "label": answer})


def _versions(subject: Subject) -> dict[str, str]:
    """The version in use of each algorithm."""
    folder = folder_of(subject)
    found: dict[str, str] = {}
    for algorithm in ALGORITHMS:
        try:
            chosen = chosen_version(folder, algorithm)
        except (ArtifactError, OSError):
            # The page of the subject names the problem.
            continue
        if chosen:
            found[algorithm] = chosen.name
    return found
