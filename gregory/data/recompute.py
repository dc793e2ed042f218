"""The values of articles that follow from predictions, by GregoryAI's rules: `ml_score` and `relevant`.

`ml_score` is the mean over subjects and algorithms of the latest probability. An article is relevant if a label says so. It is also
relevant if enough algorithms say so for one of its subjects with `auto_predict`: one, two or three, by the subject's consensus type.
GregoryAI recomputes in its own process, which never sees our rows. An older GregoryAI has none of these columns.
"""

from collections.abc import Sequence

from django.db import connection

from gregory.data import schema

# GregoryAI compares with this value, whatever threshold the prediction had.
THRESHOLD = 0.8
CONSENSUS = {"any": 1, "majority": 2, "all": 3}
_COLUMNS = {
    "articles": {"ml_score", "relevant"},
    "subjects": {"auto_predict", "ml_consensus_type"},
    "gregory_mlpredictions": {"algorithm"},
}
# The latest prediction of each pair has position 1, whatever its version.
_LATEST = """SELECT p.subject_id, p.algorithm, p.probability_score, p.predicted_relevant,
    ROW_NUMBER() OVER (PARTITION BY p.subject_id, p.algorithm ORDER BY p.created_date DESC, p.id DESC) AS position
    FROM gregory_mlpredictions p WHERE p.article_id = articles.article_id"""
_STATEMENT = f"""UPDATE articles SET
  ml_score = (SELECT AVG(latest.probability_score) FROM ({_LATEST}) latest WHERE latest.position = 1),
  relevant = EXISTS (
    SELECT 1 FROM gregory_articlesubjectrelevance r WHERE r.article_id = articles.article_id AND r.is_relevant
  ) OR EXISTS (
    SELECT 1 FROM articles_subjects m JOIN subjects s ON s.id = m.subject_id
    WHERE m.articles_id = articles.article_id AND s.auto_predict AND (
      SELECT COUNT(*) FROM ({_LATEST}) latest
      WHERE latest.position = 1 AND latest.subject_id = s.id AND latest.predicted_relevant AND latest.probability_score >= {THRESHOLD}
    ) >= CASE s.ml_consensus_type
      {" ".join(f"WHEN '{word}' THEN {count}" for word, count in CONSENSUS.items())} ELSE {max(CONSENSUS.values())} END
  )
WHERE article_id IN """  # noqa: S608 - the text has constants only


def is_possible() -> bool:
    """Whether the tables have these values."""
    return all(needed <= schema.columns(table) for table, needed in _COLUMNS.items())


def recompute(article_ids: Sequence[int]) -> None:
    """Write both values of these articles, in the transaction of the caller."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_STATEMENT}({', '.join(['%s'] * len(article_ids))})", list(article_ids))
