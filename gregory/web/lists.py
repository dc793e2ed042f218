"""The lists: runs, the run log, subjects, articles, reviews and the actions of operators."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gregory.models import Articles, ArticleSubjectRelevance, PredictionRunLog, Subject
from gregory.runs import store
from gregory.runs.models import AlgorithmRun, OperatorAction, TrainingRun
from gregory.web import filters, words
from gregory.web.read_only import ReadOnlyList
from gregory.web.scope import label_of, scope_of

_METRICS = ("roc_auc", "pr_auc", "f1")


class RunList(ReadOnlyList):
    """Trainings and predictions, newest first."""

    title = "Runs"
    list_display = ("run", "subject_of_run", "kind", "situation", "queued_at", "waited", "worked", "attempt", "node", "runner")
    list_display_links = None
    list_filter = (filters.StateFilter, filters.KindFilter, filters.RunnerFilter, filters.TeamFilter, filters.SubjectFilter)
    search_fields = ("run_id", "subject__subject_slug", "subject__team__slug")
    date_hierarchy = "queued_at"
    ordering = ("-queued_at", "run_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrainingRun]:
        """Without the end of the log. The specification has the slugs, also those of a deleted subject."""
        return scope_of(request).runs.defer("log_tail")

    @admin.display(description="run")
    def run(self, run: TrainingRun) -> SafeString:
        """The id, with a link to the page of the run."""
        return format_html('<a href="{}">{}</a>', reverse("admin:run", args=[run.run_id]), run.run_id)

    @admin.display(description="subject")
    def subject_of_run(self, run: TrainingRun) -> str:
        """team/subject."""
        return store.label_of(run)

    @admin.display(description="state", ordering="state")
    def situation(self, run: TrainingRun) -> SafeString:
        """The state in words. A script renews it while the run is unfinished."""
        return words.badge(run)

    @admin.display(description="waited")
    def waited(self, run: TrainingRun) -> str:
        """From the request to the begin of the work."""
        return words.duration(run.queued_at, run.started_at)

    @admin.display(description="worked")
    def worked(self, run: TrainingRun) -> str:
        """From the begin of the work to its end."""
        return words.duration(run.started_at, run.finished_at)


class RunLogList(ReadOnlyList):
    """One row per subject and algorithm, with the figures of the test part."""

    title = "Run log"
    list_display = (
        "row",
        "label",
        "kind",
        "algorithm_name",
        "model_version",
        "result",
        *_METRICS,
        "run_started",
        "run_finished",
        "triggered_by",
    )
    list_display_links = None
    list_filter = (filters.RunTypeFilter, filters.AlgorithmFilter, "success", filters.TeamFilter, filters.SubjectFilter)
    search_fields = ("model_version", "subject__subject_slug", "team__slug", "=algorithm_run__run__run_id")
    date_hierarchy = "run_started"
    # The order of the starts. It has an index, and the time of the start has none.
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PredictionRunLog]:
        """With the record of this project, and without long texts."""
        log = scope_of(request).log.select_related("subject", "team", "algorithm_run__run")
        long = ("evaluation", "data", "warnings", "run__spec", "run__log_tail", "run__detail")
        return log.defer("error_message", "subject__description", *(f"algorithm_run__{name}" for name in long))

    @admin.display(description="row", ordering="pk")
    def row(self, row: PredictionRunLog) -> SafeString | int:
        """The id, with a link to the run. GregoryAI's own trainings have no run."""
        record = _record(row)
        return row.pk if record is None else format_html('<a href="{}">{}</a>', reverse("admin:run", args=[record.run_id]), row.pk)

    @admin.display(description="subject")
    def label(self, row: PredictionRunLog) -> str:
        """team/subject."""
        return f"{row.team.slug}/{row.subject.subject_slug}"

    @admin.display(description="kind", ordering="run_type")
    def kind(self, row: PredictionRunLog) -> str:
        """The word of the commands, and not GregoryAI's label for it."""
        return row.run_type

    @admin.display(description="algorithm", ordering="algorithm")
    def algorithm_name(self, row: PredictionRunLog) -> str:
        """As `kind`."""
        return row.algorithm or ""

    @admin.display(description="result", ordering="success")
    def result(self, row: PredictionRunLog) -> SafeString:
        """Success, the reason of a failure, or what an open row waits for."""
        return words.row_badge(row, _record(row))

    @admin.display(description="ROC AUC")
    def roc_auc(self, row: PredictionRunLog) -> str:
        """Of the test part."""
        return _metric(row, "roc_auc")

    @admin.display(description="PR AUC")
    def pr_auc(self, row: PredictionRunLog) -> str:
        """Of the test part."""
        return _metric(row, "pr_auc")

    @admin.display(description="F1")
    def f1(self, row: PredictionRunLog) -> str:
        """Of the test part."""
        return _metric(row, "f1")


def _record(row: PredictionRunLog) -> AlgorithmRun | None:
    return getattr(row, "algorithm_run", None)


def _metric(row: PredictionRunLog, name: str) -> str:
    record = _record(row)
    return words.figure(words.mapping(record.metrics).get(f"test_{name}") if record else None)


class SubjectList(ReadOnlyList):
    """Subjects with the numbers of their reviews."""

    title = "Subjects"
    # "articles" would be the relation of the model, and not the count below.
    list_display = ("subject", "relevant", "not_relevant", "members")
    list_display_links = None
    list_filter = (filters.SubjectTeamFilter,)
    search_fields = ("subject_slug", "subject_name", "team__slug")
    ordering = ("team__slug", "subject_slug")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subject]:
        """A count for each column, only of the subjects of one page."""
        reviews = ArticleSubjectRelevance.objects.filter(subject=OuterRef("pk"))
        members = Articles.subjects.through.objects.filter(subject=OuterRef("pk")).order_by()
        return (
            scope_of(request)
            .subjects.filter(team__isnull=False)
            .select_related("team")
            .annotate(
                relevant_count=_number(reviews.filter(is_relevant=True)),
                other_count=_number(reviews.filter(is_relevant=False)),
                article_count=_number(members),
            )
        )

    @admin.display(description="subject", ordering="subject_slug")
    def subject(self, subject: Subject) -> SafeString:
        """team/subject, with a link to its page."""
        return format_html('<a href="{}">{}/{}</a>', reverse("admin:subject", args=[subject.pk]), _team(subject), subject.subject_slug)

    @admin.display(description="relevant", ordering="relevant_count")
    def relevant(self, subject: Any) -> int:
        """Articles reviewed as relevant."""
        return int(subject.relevant_count)

    @admin.display(description="not relevant", ordering="other_count")
    def not_relevant(self, subject: Any) -> int:
        """Articles reviewed as not relevant."""
        return int(subject.other_count)

    @admin.display(description="articles", ordering="article_count")
    def members(self, subject: Any) -> int:
        """All articles."""
        return int(subject.article_count)


def _team(subject: Subject) -> str:
    return subject.team.slug if subject.team else ""


def _number(rows: QuerySet[Any]) -> Coalesce:
    counted = rows.order_by().values("subject").annotate(number=Count("*")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


class ArticleList(ReadOnlyList):
    """Articles of the user's subjects."""

    title = "Articles"
    list_display = ("title", "discovery_date")
    list_filter = (filters.ArticleSubjectFilter,)
    search_fields = ("title",)
    date_hierarchy = "discovery_date"
    ordering = ("-pk",)
    has_page = True
    fields = ("title", "summary", "discovery_date")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Articles]:
        """The columns that a training reads."""
        return scope_of(request).articles.only("article_id", "title", "summary", "discovery_date")


class ActionList(ReadOnlyList):
    """What users did on these pages, newest first."""

    title = "Actions"
    list_display = ("at", "by", "action", "label", "run", "done", "detail")
    list_display_links = None
    list_filter = ("action", "done")
    search_fields = ("by", "label", "run_id", "detail")
    date_hierarchy = "at"
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OperatorAction]:
        """Of the user's subjects."""
        return scope_of(request).actions

    @admin.display(description="run")
    def run(self, action: OperatorAction) -> SafeString | str:
        """The id, with a link to the page of the run."""
        return format_html('<a href="{}">{}</a>', reverse("admin:run", args=[action.run_id]), action.run_id) if action.run_id else ""


class ReviewList(ReadOnlyList):
    """The reviews of articles. `label` of a subject's page changes them."""

    title = "Reviews"
    list_display = ("article_title", "label", "is_relevant")
    list_display_links = None
    list_filter = ("is_relevant", filters.TeamFilter, filters.SubjectFilter)
    search_fields = ("article__title", "subject__subject_slug")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ArticleSubjectRelevance]:
        """With titles and slugs."""
        reviews = scope_of(request).reviews.select_related("article", "subject__team")
        return reviews.only("is_relevant", "article__title", "subject__subject_slug", "subject__team__slug")

    @admin.display(description="article", ordering="article__title")
    def article_title(self, review: ArticleSubjectRelevance) -> str:
        """The title. Django would not wrap that of a referenced row."""
        return str(review.article.title)

    @admin.display(description="subject", ordering="subject__subject_slug")
    def label(self, review: ArticleSubjectRelevance) -> str:
        """team/subject."""
        return label_of(review.subject)
