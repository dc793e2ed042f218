"""Predictions in GregoryAI's tables: which articles lack one, and the writing of new ones in batches.

A newer table has the column `algorithm`, an older one has not. There the stored version begins with the algorithm, because two
algorithms often have the same version. `recompute` writes the values of articles that follow from predictions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import reduce
from operator import or_

from django.db import IntegrityError, connection, transaction
from django.db.models import BooleanField, Count, Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL

from gregory.data import recompute, schema
from gregory.data.corpus import CHUNK
from gregory.ml.config import Algorithm
from gregory.ml.dataset import Article, Prediction
from gregory.ml.text import TEXT_VERSION, abstract, clean
from gregory.models import Articles, MLPredictions
from gregory.runs import store
from gregory.runs.spec import AlgorithmSpec, PredictSpec, Window

TABLE = MLPredictions._meta.db_table
# Articles per transaction. A lost connection repeats one, and its locks are short.
BATCH = 500
# Of each algorithm.
Versions = Mapping[Algorithm, str]
_ATTEMPTS = 3
_NOW = {"postgresql": "statement_timestamp()", "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The numbers of one batch. new: predictions that were written. gone: deleted articles."""

    new: int
    gone: int


def window(lookback_days: int | None, *, now: datetime) -> Window:
    """The data window of a prediction. It begins with a day, as in GregoryAI."""
    if lookback_days is None:
        return Window(cutoff=None, description="all articles")
    begin = datetime.combine(now.astimezone(UTC).date() - timedelta(days=lookback_days), time(), UTC)
    days = "1 day" if lookback_days == 1 else f"{lookback_days} days"
    return Window(cutoff=begin, description=f"articles of the last {days}, discovered since {begin:%Y-%m-%d} UTC")


def count_waiting(subject_id: int, window: Window, versions: Versions, *, skip_without_summary: bool) -> dict[str, int]:
    """The number of articles without a prediction, by algorithm. versions: by algorithm."""
    articles = _candidates(subject_id, window, skip_without_summary=skip_without_summary)
    counts = {name: Count("pk", filter=~Exists(_predicted(subject_id, name, version))) for name, version in versions.items()}
    return dict(articles.aggregate(**counts)) if counts else {}


def waiting(
    subject_id: int, window: Window, versions: Versions, *, skip_without_summary: bool, text_version: int = TEXT_VERSION
) -> Iterator[Article]:
    """The articles without a prediction of at least one of these versions, in order of article id. An article without words is left out."""
    missing = [Q(~Exists(_predicted(subject_id, name, version))) for name, version in versions.items()]
    articles = _candidates(subject_id, window, skip_without_summary=skip_without_summary).filter(reduce(or_, missing))
    columns = articles.order_by("article_id").values_list("article_id", "title", "summary")
    for article_id, title, summary in columns.iterator(chunk_size=CHUNK):
        article = Article(article_id=article_id, title=clean(title), abstract=abstract(summary, version=text_version), label=None)
        if article.title or article.abstract:
            yield article


def predicted_ids(subject_id: int, algorithm: str, version: str) -> set[int]:
    """The articles that have a prediction of this version."""
    rows = _of_version(subject_id, algorithm, version)
    return set(rows.filter(article__isnull=False).values_list("article_id", flat=True))


def of_versions(subject_id: int, versions: Mapping[str, str]) -> QuerySet[MLPredictions] | None:
    """The predictions of these versions, by algorithm. None without a version."""
    found = [_of_version(subject_id, algorithm, version) for algorithm, version in versions.items()]
    return reduce(or_, found) if found else None


def write(spec: PredictSpec, algorithm: AlgorithmSpec, predictions: Sequence[Prediction], *, threshold: float) -> Written | None:
    """Write a batch in one transaction. A repeated call writes nothing twice. None if another attempt is the current one.

    An article that was deleted since the start of the run is left out. Raises DatabaseError.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _write(spec, algorithm, predictions, threshold)
        except IntegrityError:
            # An article was deleted, or another program wrote the same prediction, after this transaction had looked.
            continue
    return _write(spec, algorithm, predictions, threshold)


def _write(spec: PredictSpec, algorithm: AlgorithmSpec, predictions: Sequence[Prediction], threshold: float) -> Written | None:
    recomputes = spec.config.recompute and recompute.is_possible()
    with transaction.atomic():
        if not store.hold(spec):
            return None
        ids = [prediction.article_id for prediction in predictions]
        present = _present(ids, locked=recomputes)
        rows = _of_version(spec.subject.id, algorithm.algorithm, algorithm.version)
        known = set(rows.filter(article_id__in=ids).values_list("article_id", flat=True))
        new = [prediction for prediction in predictions if prediction.article_id in present - known]
        if new:
            _insert(spec, algorithm, new, threshold)
        if new and recomputes:
            recompute.recompute([prediction.article_id for prediction in new])
    return Written(new=len(new), gone=len(set(ids) - present))


def _present(ids: Sequence[int], *, locked: bool) -> set[int]:
    """The articles that exist. locked: a run of another subject that writes to the same article waits, and then sees these predictions."""
    articles = Articles.objects.filter(pk__in=ids).order_by("pk")
    if locked and connection.features.has_select_for_no_key_update:
        articles = articles.select_for_update(no_key=True)
    return set(articles.values_list("pk", flat=True))


def _insert(spec: PredictSpec, algorithm: AlgorithmSpec, predictions: Sequence[Prediction], threshold: float) -> None:
    with_algorithm = _has_algorithm()
    names = ["article_id", "subject_id", "model_version", "probability_score", "predicted_relevant", *["algorithm"] * with_algorithm]
    version = _stored_version(algorithm.algorithm, algorithm.version)
    values: list[int | str | float | None] = []
    for prediction in predictions:
        values += [prediction.article_id, spec.subject.id, version, prediction.probability, prediction.probability >= threshold]
        values += [algorithm.algorithm] * with_algorithm
    row = f"({', '.join(['%s'] * len(names))}, {_NOW[connection.vendor]})"
    with connection.cursor() as cursor:
        # GregoryAI's database has its own names of columns and no defaults. Its ids are identities, or of a sequence.
        cursor.execute(
            f"INSERT INTO {TABLE} ({', '.join(names)}, created_date) "  # noqa: S608 - no value is in the text
            f"VALUES {', '.join([row] * len(predictions))} ON CONFLICT DO NOTHING",
            values,
        )


def _candidates(subject_id: int, window: Window, *, skip_without_summary: bool) -> QuerySet[Articles]:
    articles = Articles.objects.filter(subjects=subject_id)
    if window.cutoff is not None:
        articles = articles.filter(discovery_date__gte=window.cutoff)
    return articles.exclude(Q(summary__isnull=True) | Q(summary="")) if skip_without_summary else articles


def _predicted(subject_id: int, algorithm: str, version: str) -> QuerySet[MLPredictions]:
    return _of_version(subject_id, algorithm, version).filter(article_id=OuterRef("pk"))


def _of_version(subject_id: int, algorithm: str, version: str) -> QuerySet[MLPredictions]:
    rows = MLPredictions.objects.filter(subject_id=subject_id, model_version=_stored_version(algorithm, version))
    if _has_algorithm():
        # Not a field of the model, because older tables lack it. No other table of these queries has such a column.
        rows = rows.filter(RawSQL("algorithm = %s", (algorithm,), output_field=BooleanField()))
    return rows


def _stored_version(algorithm: str, version: str) -> str:
    return version if _has_algorithm() else f"{algorithm} {version}"[:100]


def _has_algorithm() -> bool:
    return "algorithm" in schema.columns(TABLE)
