"""The values of articles by the rules of GregoryAI, in one SQL statement of this test alone. Other words than those of the product."""

from tests.live.database import LiveDatabase

# Each article with a prediction: what the tables have, and what the rules give.
_STATEMENT = """
WITH newest AS (
  SELECT DISTINCT ON (article_id, subject_id, algorithm) article_id, subject_id, probability_score AS p, predicted_relevant AS yes
  FROM gregory_mlpredictions ORDER BY article_id, subject_id, algorithm, created_date DESC, id DESC
), voted AS (
  SELECT newest.article_id, bool_or(votes >= CASE ml_consensus_type WHEN 'any' THEN 1 WHEN 'majority' THEN 2 WHEN 'all' THEN 3 END) AS yes
  FROM (SELECT article_id, subject_id, count(*) FILTER (WHERE yes AND p >= 0.8) AS votes FROM newest GROUP BY 1, 2) newest
  JOIN subjects ON subjects.id = newest.subject_id AND auto_predict
  JOIN articles_subjects member ON member.articles_id = newest.article_id AND member.subject_id = newest.subject_id GROUP BY 1
), meant AS (SELECT article_id, avg(p) AS score FROM newest GROUP BY 1),
labelled AS (SELECT DISTINCT article_id FROM gregory_articlesubjectrelevance WHERE is_relevant)
SELECT article_id, relevant, ml_score, coalesce(voted.yes, false) OR labelled.article_id IS NOT NULL, score
FROM meant JOIN articles USING (article_id) LEFT JOIN voted USING (article_id) LEFT JOIN labelled USING (article_id) ORDER BY 1
"""


def require_true_values(database: LiveDatabase) -> int:
    """Compare `relevant` and `ml_score` of every predicted article with the rules. Returns the number of these articles."""
    found = database.execute(_STATEMENT)
    wrong = [row for row in found if row[1] != row[3] or abs(float(row[2]) - float(row[4])) > 1e-9]
    assert wrong == []
    return len(found)
