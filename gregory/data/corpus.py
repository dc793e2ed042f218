"""Subject -> labelled and unlabelled articles. Only this module reads articles and labels for a training.

Every query is read-only, streamed, and uses only columns that every version of GregoryAI's schema has.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from gregory.ml.dataset import Article
from gregory.ml.text import TEXT_VERSION, abstract, clean
from gregory.models import Articles, ArticleSubjectRelevance
from gregory.runs.spec import Window

# Records per round trip: some megabytes in memory.
CHUNK = 2000


def window(lookback_days: int | None, *, now: datetime) -> Window:
    """The data window with an exact cutoff in UTC, so that a later attempt reads the same articles."""
    if lookback_days is None:
        return Window(cutoff=None, description="all articles")
    cutoff = now - timedelta(days=lookback_days)
    days = "1 day" if lookback_days == 1 else f"{lookback_days} days"
    return Window(cutoff=cutoff, description=f"articles of the last {days}, discovered since {cutoff:%Y-%m-%d %H:%M} UTC")


def label_counts(subject_ids: Collection[int], cutoff: datetime | None) -> Mapping[int, tuple[int, int]]:
    """The numbers of relevant and of not relevant articles by subject id, in one query."""
    labels = _reviews(cutoff).filter(subject__in=subject_ids).order_by().values_list("subject_id")
    relevant, not_relevant = Count("pk", filter=Q(is_relevant=True)), Count("pk", filter=Q(is_relevant=False))
    counts = {subject: (yes, no) for subject, yes, no in labels.annotate(relevant=relevant, not_relevant=not_relevant)}
    return {subject: counts.get(subject, (0, 0)) for subject in subject_ids}


def labelled(subject_id: int, cutoff: datetime | None, *, text_version: int = TEXT_VERSION) -> Iterator[Article]:
    """The reviewed articles of a subject, in order of article id."""
    reviews = _reviews(cutoff).filter(subject_id=subject_id)
    columns = reviews.order_by("article_id").values_list("article_id", "article__title", "article__summary", "is_relevant")
    for article_id, title, summary, is_relevant in columns.iterator(chunk_size=CHUNK):
        yield Article(
            article_id=article_id, title=clean(title), abstract=abstract(summary, version=text_version), label=1 if is_relevant else 0
        )


def unlabelled(subject_id: int, cutoff: datetime | None) -> Iterator[Article]:
    """The articles of the subject without a review for it, in order of article id."""
    # exclude() across the to-many relation would drop articles with a review for another subject.
    reviewed = ArticleSubjectRelevance.objects.filter(article_id=OuterRef("pk"), subject_id=subject_id, is_relevant__isnull=False)
    articles = Articles.objects.filter(~Exists(reviewed), subjects=subject_id)
    if cutoff is not None:
        articles = articles.filter(discovery_date__gte=cutoff)
    columns = articles.order_by("article_id").values_list("article_id", "title", "summary")
    for article_id, title, summary in columns.iterator(chunk_size=CHUNK):
        yield Article(article_id=article_id, title=clean(title), abstract=abstract(summary), label=None)


def _reviews(cutoff: datetime | None) -> QuerySet[ArticleSubjectRelevance]:
    """The reviews of articles in the data window. A label of None means: not reviewed. It does not count."""
    reviews = ArticleSubjectRelevance.objects.filter(is_relevant__isnull=False)
    return reviews if cutoff is None else reviews.filter(article__discovery_date__gte=cutoff)
