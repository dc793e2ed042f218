"""Queries on a generated database of 20,000 articles find their rows by an index."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from benchmarks import live_database
from tools.installation import Installation
from tools.postgresql import Server

ARTICLES, SUBJECTS = 20_000, 60
# PostgreSQL reads small tables whole, with any index.
SMALL = {"gregory_team", "subjects"}

EXPLAIN = """
import json
from datetime import timedelta
from pathlib import Path
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from gregory.data import corpus
from gregory.ml.config import ALGORITHMS, TrainConfig
from gregory.training.planning import plan
from gregory.training.request import TrainingRequest

since = timezone.now() - timedelta(days=90)
wanted = TrainingRequest(
    team=None, subject=None, lookback_days=90, algorithms=ALGORITHMS, version=None, config=TrainConfig(), verbosity=1
)
looks = {
    "planning": lambda: plan(wanted, models_dir=Path("none"), now=timezone.now(), require_gpu=False),
    "labelled": lambda: list(corpus.labelled(2, None)), "labelled since": lambda: list(corpus.labelled(2, since)),
    "pool": lambda: list(corpus.unlabelled(2, None)), "pool since": lambda: list(corpus.unlabelled(2, since)),
}
told = {}
for name, look in looks.items():
    with CaptureQueriesContext(connection) as captured:
        rows = len(look())
    statements = [query["sql"] for query in captured if query["sql"].startswith("SELECT") and "pg_attribute" not in query["sql"]]
    plans = []
    for statement in statements:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (FORMAT JSON) " + statement)
            plans.append(cursor.fetchone()[0][0]["Plan"])
    told[name] = {"rows": rows, "queries": len(captured), "plans": plans}
print(json.dumps(told))
"""


def scanned(plan: dict) -> set[str]:
    """The tables that this plan, or a part of it, reads whole."""
    found = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return found.union(*(scanned(part) for part in plan.get("Plans", [])))


@pytest.fixture(scope="module")
def generated(postgresql_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    database = f"scale_{uuid4().hex[:12]}"
    postgresql_server.create(database)
    with postgresql_server.connect(database) as connection:
        live_database.generate(connection, articles=ARTICLES, subjects=SUBJECTS)
    installation = Installation(tmp_path_factory.mktemp("scale"), environment=postgresql_server.environment(database))
    installation.must("migrate", "-v0")
    return installation


def test_planning_corpus_and_pool_are_backed_by_indexes(generated: Installation):
    told = json.loads(generated.run_code(EXPLAIN))

    assert {name: look["rows"] > 0 for name, look in told.items()} == dict.fromkeys(told, True)
    assert told["planning"]["rows"] == SUBJECTS
    # Begin, the columns of a team, subjects, versions, end. The others are one statement each.
    assert {name: look["queries"] for name, look in told.items()} == {
        "planning": 6, "labelled": 1, "labelled since": 1, "pool": 1, "pool since": 1,
    }  # fmt: skip
    whole = {name: set().union(*map(scanned, look["plans"])) - SMALL for name, look in told.items()}
    # Planning needs every version of every subject, most of that table.
    assert whole.pop("planning") <= {"gregory_predictionrunlog"}
    assert set().union(*whole.values()) == set()


def test_a_corpus_is_streamed(generated: Installation, tmp_path: Path):
    """Memory holds the rows of one round trip, so it does not depend on the number of rows."""
    measure = """
from benchmarks.live_database import Measured
from gregory.data import corpus
from gregory.runs.db_retry import read_only_transaction
from django.db import connection
connection.ensure_connection()
rows = lambda: sum(1 for _ in corpus.unlabelled(1, None))
corpus.CHUNK = 100
with read_only_transaction():
    rows()
with Measured() as measured, read_only_transaction():
    count = rows()
print(count, measured.peak_mib)
"""
    count, peak = generated.run_code(measure).split()

    assert int(count) == ARTICLES / 10 * 8 / 10
    # All rows would take more than 3 MB.
    assert float(peak) < 2
