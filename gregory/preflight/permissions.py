"""The permissions that commands and runs need, by table and column, and those that a role lacks.

`docs/sql/least-privilege.sql` grants exactly these. A test compares both.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from organizations.models import OrganizationUser

from gregory.data.models import ImportedArticle
from gregory.models import PredictionRunLog
from gregory.runs.models import AlgorithmRun, OperatorAction, RunEvent, TrainingRun

Columns = frozenset[str]
# For each table, the columns that each permission must include.
Needs = Mapping[str, Mapping[str, Columns]]
Query = Callable[..., list[tuple[Any, ...]]]

# Only preflight reads it. A run works without this permission.
RECORDS = "django_migrations"
LOG = PredictionRunLog._meta.db_table
RUNS, TRAININGS, EVENTS, ACTIONS, IDENTIFIERS = (
    model._meta.db_table for model in (TrainingRun, AlgorithmRun, RunEvent, OperatorAction, ImportedArticle)
)


def _columns(model: type[Model], *without: str) -> Columns:
    return frozenset(field.column for field in model._meta.concrete_fields if field.column and field.column not in without)


_ARTICLES: Needs = {
    "articles": {"SELECT": frozenset({"article_id", "title", "summary", "discovery_date"})},
    "articles_subjects": {"SELECT": frozenset({"articles_id", "subject_id"})},
    "gregory_articlesubjectrelevance": {"SELECT": frozenset({"id", "article_id", "subject_id", "is_relevant"})},
}
_RECORDS: Needs = {RECORDS: {"SELECT": frozenset({"id", "app", "name", "applied"})}}
_ENDS = frozenset({"model_version", "run_started", "run_finished", "success", "error_message"})
_FACTS = _columns(AlgorithmRun, "id", "run_id", "run_log_id", "position")

COMMANDS: Needs = {
    "gregory_team": {"SELECT": frozenset({"id", "slug"})},
    "subjects": {"SELECT": frozenset({"id", "subject_name", "subject_slug", "team_id"})},
    **_ARTICLES,
    LOG: {"SELECT": _columns(PredictionRunLog), "INSERT": _columns(PredictionRunLog, "id"), "UPDATE": _ENDS},
    RUNS: {
        "SELECT": _columns(TrainingRun),
        "INSERT": _columns(TrainingRun),
        "UPDATE": _columns(TrainingRun, "run_id", "subject_id", "kind", "runner"),
    },
    TRAININGS: {"SELECT": _columns(AlgorithmRun), "INSERT": _columns(AlgorithmRun, "id"), "UPDATE": _FACTS},
    EVENTS: {"SELECT": _columns(RunEvent), "INSERT": _columns(RunEvent, "id")},
    # For the operator pages.
    ACTIONS: {"SELECT": _columns(OperatorAction), "INSERT": _columns(OperatorAction, "id")},
    # For export_training_data.
    IDENTIFIERS: {"SELECT": _columns(ImportedArticle, "id")},
    **_RECORDS,
}
_OF_COMMANDS = (
    *("run_id", "subject_id", "kind", "runner", "attempt", "attempt_token", "retries", "spec", "queued_at", "submitted_at", "cancelled_by"),
)
# The process of a run opens no run, and changes neither its specification, its token nor its subject.
RUN: Needs = {
    "subjects": {"SELECT": frozenset({"id", "subject_name", "subject_slug"})},
    **_ARTICLES,
    LOG: {"SELECT": _columns(PredictionRunLog), "UPDATE": _ENDS},
    RUNS: {"SELECT": _columns(TrainingRun), "UPDATE": _columns(TrainingRun, *_OF_COMMANDS)},
    TRAININGS: {"SELECT": _columns(AlgorithmRun), "UPDATE": _FACTS},
    EVENTS: {"SELECT": frozenset({"id"}), "INSERT": _columns(RunEvent, "id")},
    **_RECORDS,
}
_PREDICTION = frozenset({"article_id", "subject_id", "model_version", "probability_score", "predicted_relevant", "created_date"})
# A prediction needs these in addition to a run, and the last two for the values of articles that follow from predictions.
PREDICTIONS: Needs = {"gregory_mlpredictions": {"SELECT": _PREDICTION | {"id", "algorithm"}, "INSERT": _PREDICTION | {"algorithm"}}}
RECOMPUTATION: Needs = {
    "subjects": {"SELECT": frozenset({"auto_predict", "ml_consensus_type"})},
    "articles": {"UPDATE": frozenset({"relevant", "ml_score"})},
}
# The operator pages need these in addition to a command. `docs/sql/operator-pages.sql` grants them.
_ACCOUNTS = (User, Group, Permission, ContentType, OrganizationUser)
_GRANTS = (User.groups.through, User.user_permissions.through, Group.permissions.through)
PAGES: Needs = {
    **{model._meta.db_table: {"SELECT": _columns(model)} for model in (*_ACCOUNTS, *_GRANTS)},
    "gregory_team": {"SELECT": frozenset({"organization_id"})},
    "subjects": {"SELECT": frozenset({"description"})},
    "gregory_mlpredictions": {"SELECT": frozenset({"subject_id", "article_id", "model_version", "probability_score"})},
}
# Columns that are needed in a GregoryAI that has them.
_OPTIONAL: Mapping[str, Columns] = {"gregory_team": frozenset({"is_active"})}

# The sequences of id columns. An identity column needs no further permission than INSERT.
_SEQUENCES = """
SELECT DISTINCT dependency.refobjid::regclass::text
FROM pg_attrdef AS origin
JOIN pg_attribute AS id ON id.attrelid = origin.adrelid AND id.attnum = origin.adnum AND id.attidentity = ''
JOIN pg_depend AS dependency ON dependency.classid = 'pg_attrdef'::regclass AND dependency.objid = origin.oid
JOIN pg_class AS target ON dependency.refclassid = 'pg_class'::regclass AND target.oid = dependency.refobjid AND target.relkind = 'S'
WHERE origin.adrelid = 'gregory_predictionrunlog'::regclass
"""
# Of the columns that exist. Another check names those that a table lacks.
_REFUSED = """
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = ANY(%s) AND attnum > 0 AND NOT attisdropped
  AND NOT has_column_privilege(attrelid, attnum, %s)
ORDER BY attnum
"""


def missing_grants(query: Query, needs: Needs, *, role: str) -> Iterator[str]:
    """The GRANT of the permissions that the role of the connection lacks, for each table. role: as SQL writes it."""
    for table, permissions in needs.items():
        lacking = []
        for permission, columns in permissions.items():
            refused = [name for (name,) in query(_REFUSED, table, sorted(columns | _OPTIONAL.get(table, frozenset())), permission)]
            if refused:
                lacking.append(f"{permission} ({', '.join(refused)})")
        if lacking:
            yield f"GRANT {', '.join(lacking)} ON {table} TO {role};"
    if "INSERT" in needs.get(LOG, {}):
        for (sequence,) in query(_SEQUENCES):
            if not query("SELECT has_sequence_privilege(%s, 'USAGE')", sequence)[0][0]:
                yield f"GRANT USAGE ON SEQUENCE {sequence} TO {role};"


def columns_of(needs: Needs) -> dict[str, Columns]:
    """The columns of each table that are needed for any permission."""
    return {table: frozenset().union(*permissions.values()) for table, permissions in needs.items()}


def is_written(permissions: Mapping[str, Columns]) -> bool:
    """Whether rows of the table are written."""
    return permissions.keys() != {"SELECT"}
