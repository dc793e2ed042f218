"""The pages: Django's admin with the lists and pages of this project, and without all that writes."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse

from gregory.data.imports.errors import ImportRefused
from gregory.models import Articles, ArticleSubjectRelevance, PredictionRunLog, Subject
from gregory.runs import store
from gregory.runs.models import OperatorAction, TrainingRun
from gregory.runs.states import FINAL_STATES
from gregory.web import actions, compare_page, labels, lists, progress, run_page, subject_page, words
from gregory.web.read_only import ReadOnlyList
from gregory.web.scope import LABEL, OPERATE, label_of, require, run_or_404, scope_of, subject_or_404, user_of

FINAL = sorted(state.value for state in FINAL_STATES)
# Django's own pages of these names change accounts, or look up rows of every team.
_KEPT = ("index", "login", "logout", "jsi18n")


class OperatorPages(admin.AdminSite):
    """Lists by Django's admin, and pages of our own. Whoever may log in to an admin of Django may log in here."""

    site_title = site_header = "gregory-train"
    index_title = "Runs"
    site_url = None
    enable_nav_sidebar = True
    final_catch_all_view = False

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """The addresses of the lists, and of our pages."""
        kept = [one for one in super().get_urls() if isinstance(one, URLResolver) or getattr(one, "name", None) in _KEPT]
        ours: list[URLPattern | URLResolver] = [
            path("runs/<str:run_id>/", self.admin_view(self.run), name="run"),
            path("runs/<str:run_id>/report/<str:algorithm>/", self.admin_view(run_page.report), name="report"),
            path("subjects/<int:subject_id>/", self.admin_view(self.subject), name="subject"),
            path("subjects/<int:subject_id>/compare/", self.admin_view(self.compare), name="compare"),
            path("subjects/<int:subject_id>/label/", self.admin_view(self.label), name="label"),
            path("subjects/<int:subject_id>/label/<int:article_id>/", self.admin_view(labels.save), name="save_label"),
            path("runs/<str:run_id>/cancel/", self._action(actions.cancel), name="cancel"),
            path("runs/<str:run_id>/retry/", self._action(actions.retry), name="retry"),
            path("subjects/<int:subject_id>/train/", self._action(actions.train), name="train"),
            path("subjects/<int:subject_id>/predict/", self._action(actions.predict), name="predict"),
            path("subjects/<int:subject_id>/<str:algorithm>/promote/<str:version>/", self._action(actions.promote), name="promote"),
            path("subjects/<int:subject_id>/<str:algorithm>/rollback/", self._action(actions.roll_back), name="rollback"),
            path("progress/", self.admin_view(progress.progress), name="progress"),
        ]
        return [*ours, *kept]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The unfinished runs and the newest ended ones."""
        runs = scope_of(request).runs.defer("log_tail")
        unfinished = list(runs.exclude(state__in=FINAL).order_by("queued_at")[:50])
        ended = list(runs.filter(state__in=FINAL).order_by("-finished_at")[:20])
        shown = {"unfinished": _shown(unfinished), "ended": _shown(ended)}
        return super().index(request, {**shown, **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """The lists for the menu, as one group."""
        found = [
            {
                "name": listed.title,
                "object_name": model._meta.object_name,
                "admin_url": reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"),
                "add_url": None,
                "view_only": True,
            }
            for model, listed in LISTS.items()
        ]
        return [{"name": "Lists", "app_label": "lists", "app_url": reverse("admin:index"), "has_module_perms": True, "models": found}]

    def run(self, request: HttpRequest, run_id: str) -> HttpResponse:
        """The page of a run."""
        return self.page(request, "web/run.html", f"Run {run_id}", run_page.context(run_or_404(request, run_id)))

    def subject(self, request: HttpRequest, subject_id: int) -> HttpResponse:
        """The page of a subject."""
        found = subject_page.context(subject_or_404(request, subject_id))
        return self.page(request, "web/subject.html", found["label"], found)

    def compare(self, request: HttpRequest, subject_id: int) -> HttpResponse:
        """The page that compares two versions."""
        subject = subject_or_404(request, subject_id)
        found = compare_page.context(request, subject)
        return self.page(request, "web/compare.html", f"Compare versions of {label_of(subject)}", found)

    def label(self, request: HttpRequest, subject_id: int) -> HttpResponse:
        """The page on which a user labels articles."""
        require(request, LABEL)
        subject = subject_or_404(request, subject_id)
        try:
            found = labels.context(subject)
        except ImportRefused as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:subject", args=[subject_id]))
        return self.page(request, "web/label.html", f"Label articles of {label_of(subject)}", found)

    def _action(self, of_request: Callable[..., actions.Action]) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, **place: Any) -> HttpResponse:
            require(request, OPERATE)
            return actions.confirm(request, of_request(request, **place), self.page)

        return self.admin_view(view)

    def page(self, request: HttpRequest, template: str, title: str, context: dict[str, Any]) -> HttpResponse:
        """A page with header and menu."""
        user = user_of(request)
        allowed = {"may_operate": user.has_perm(OPERATE), "may_label": user.has_perm(LABEL)}
        return TemplateResponse(request, template, {**self.each_context(request), "title": title, **allowed, **context})


def _shown(runs: Sequence[TrainingRun]) -> list[tuple[TrainingRun, str, str]]:
    return [(run, store.label_of(run), words.badge(run)) for run in runs]


LISTS: dict[type[Model], type[ReadOnlyList]] = {
    TrainingRun: lists.RunList,
    PredictionRunLog: lists.RunLogList,
    Subject: lists.SubjectList,
    Articles: lists.ArticleList,
    ArticleSubjectRelevance: lists.ReviewList,
    OperatorAction: lists.ActionList,
}
pages = OperatorPages(name="admin")
for _model, _listed in LISTS.items():
    pages.register(_model, _listed)
