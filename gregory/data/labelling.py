"""The next articles to label, and the labels. Only for tables that this project's own migrations made."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Avg, ExpressionWrapper, F, FloatField, OuterRef, Subquery
from django.db.models.functions import Abs

from gregory.data import predictions
from gregory.data.place import refuse_foreign_database
from gregory.ml.text import clean
from gregory.models import Articles, ArticleSubjectRelevance, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An article without a label, cleaned. probability: the mean of the models in use, None if none has predicted it."""

    article_id: int
    title: str
    summary: str
    probability: float | None


def candidates(subject_id: int, versions: Mapping[str, str], *, limit: int) -> list[Candidate]:
    """The most uncertain articles first, then those without a prediction, newest first. versions: those in use, by algorithm."""
    labelled = ArticleSubjectRelevance.objects.filter(subject_id=subject_id, is_relevant__isnull=False).values("article_id")
    articles = Articles.objects.filter(subjects=subject_id).exclude(pk__in=labelled)
    predicted = predictions.of_versions(subject_id, versions)
    if predicted is None:
        found = articles.order_by("-pk").values_list("pk", "title", "summary")[:limit]
        return [_candidate(pk, title, summary, None) for pk, title, summary in found]
    mean = (
        predicted.filter(article_id=OuterRef("pk")).order_by().values("article_id").annotate(mean=Avg("probability_score")).values("mean")
    )
    distance = ExpressionWrapper(Abs(F("mean") - 0.5), output_field=FloatField())
    ranked = articles.annotate(mean=Subquery(mean, output_field=FloatField())).annotate(distance=distance)
    ordered = ranked.order_by(F("distance").asc(nulls_last=True), "-pk").values_list("pk", "title", "summary", "mean")[:limit]
    return [_candidate(pk, title, summary, mean) for pk, title, summary, mean in ordered]


def _candidate(article_id: int, title: str, summary: str | None, probability: float | None) -> Candidate:
    return Candidate(article_id=article_id, title=clean(title), summary=clean(summary), probability=probability)


@transaction.atomic
def label(subject: Subject, article_id: int, *, relevant: bool) -> bool:
    """Label an article of the subject, or change its label. False if the subject has no such article.

    Raises ImportRefused if the database is GregoryAI's own.
    """
    refuse_foreign_database()
    if not subject.articles.filter(pk=article_id).exists():
        return False
    ArticleSubjectRelevance.objects.update_or_create(article_id=article_id, subject=subject, defaults={"is_relevant": relevant})
    return True
