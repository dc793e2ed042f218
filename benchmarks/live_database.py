"""`python -m benchmarks.live_database`: time and memory of planning and of a corpus on a GregoryAI database of 1,000,000 articles.

A separate PostgreSQL server generates the records (`generate`). At full size this takes some minutes and 8 GB of disk. Each measurement
is a process of its own with its own peak. Peaks count from the end of the imports. Reading is compared with a COPY of the same records.
Both alternate and have a warm cache.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks import children, ratios
from gregory.ml.config import ALGORITHMS
from tests.live.database import SCHEMA_FOLDER
from tools import postgresql
from tools.installation import REPOSITORY

ARTICLES, SUBJECTS = 1_000_000, 300
TURNS = 5
# The subject of most labels: a tenth of all articles, a fifth of these reviewed.
LARGE = 1

# 1,000 sentences of 18 to 30 words. Every summary has eight of them, 5 % with mark-up. The number of the article selects them.
SENTENCES = """
CREATE TEMP TABLE sentences AS
SELECT s, string_agg('w' || abs(hashint4(s * 31 + w)) % 9000 || substr('aeioubcdlmnrst', 1 + (s * w) % 9, 5), ' ' ORDER BY w) || '.' AS text
FROM generate_series(0, 999) AS s, generate_series(1, 24) AS w WHERE w <= 18 + s % 13 GROUP BY s
"""
ARTICLES_OF = """
INSERT INTO articles (article_id, title, link, summary, discovery_date, kind, retracted, relevant, links,
                      authors_attempts, details_attempts, doi_lookup_attempts)
SELECT n, 'Article ' || n || ' ' || left(a.text, 70), 'urn:article:' || n,
       CASE WHEN n %% 40 = 0 THEN NULL
            ELSE CASE WHEN n %% 20 = 1 THEN '<p>P &lt; 0.05</p> ' ELSE '' END
                 || concat_ws(' ', a.text, b.text, c.text, d.text, e.text, f.text, g.text, h.text) END,
       now() - n %% 2000 * interval '1 day', 'science paper', false, false, '[]', 0, 0, 0
FROM generate_series(1, %(articles)s) AS n
JOIN sentences a ON a.s = n %% 1000 JOIN sentences b ON b.s = n * 7 %% 1000 JOIN sentences c ON c.s = n * 11 %% 1000
JOIN sentences d ON d.s = n * 13 %% 1000 JOIN sentences e ON e.s = n * 17 %% 1000 JOIN sentences f ON f.s = n * 19 %% 1000
JOIN sentences g ON g.s = (n / 1000) %% 1000 JOIN sentences h ON h.s = n * 29 %% 1000
"""
ROWS: tuple[tuple[str, str], ...] = (
    (
        "organisations",
        "INSERT INTO organizations_organization (name, is_active, created, modified, slug) "
        "SELECT 'o' || n, true, now(), now(), 'o' || n FROM generate_series(1, greatest(%(subjects)s / 10, 1)) AS n",
    ),
    (
        "teams",
        "INSERT INTO gregory_team (slug, name, is_active, organization_id) "
        "SELECT 't' || id, 't' || id, true, id FROM organizations_organization",
    ),
    (
        "subjects",
        "INSERT INTO subjects (subject_name, subject_slug, auto_predict, ml_consensus_type, team_id) "
        "SELECT 's' || n, 's' || n, true, 'any', 1 + (n - 1) / 10 FROM generate_series(1, %(subjects)s) AS n",
    ),
    # Three subjects for each article.
    (
        "articles of subjects",
        "INSERT INTO articles_subjects (articles_id, subject_id) "
        "SELECT n, CASE WHEN k = 0 AND n %% 10 = 0 THEN 1 ELSE 2 + (n * 7 + k * (1 + %(subjects)s / 3)) %% (%(subjects)s - 1) END "
        "FROM generate_series(1, %(articles)s) AS n, generate_series(0, 2) AS k",
    ),
    (
        "reviews of the large subject",
        "INSERT INTO gregory_articlesubjectrelevance (article_id, subject_id, is_relevant) "
        "SELECT n, 1, n %% 200 = 0 FROM generate_series(50, %(articles)s, 50) AS n",
    ),
    (
        "empty reviews",
        "INSERT INTO gregory_articlesubjectrelevance (article_id, subject_id, is_relevant) "
        "SELECT n, 1, NULL FROM generate_series(10, %(articles)s, 50) AS n",
    ),
    (
        "reviews of the others",
        "INSERT INTO gregory_articlesubjectrelevance (article_id, subject_id, is_relevant) "
        "SELECT articles_id, subject_id, articles_id / 22 %% 4 = 0 FROM articles_subjects WHERE subject_id > 1 AND articles_id %% 22 = 1 "
        "LIMIT %(articles)s * 13 / 100",
    ),
    # Two years of weekly trainings.
    (
        "run logs",
        "INSERT INTO gregory_predictionrunlog (team_id, subject_id, model_version, algorithm, run_type, run_started, success) "
        "SELECT team_id, subjects.id, to_char(started, 'YYYYMMDD'), algorithm, 'train', started, true "
        "FROM subjects, generate_series(now() - interval '728 days', now() - interval '7 days', interval '7 days') AS started, "
        "unnest(ARRAY['pubmed_bert', 'lgbm_tfidf', 'lstm']) AS algorithm",
    ),
)

# The minimum: the same records in the same order, as text.
COPY = f"""
COPY (SELECT r.article_id, a.title, a.summary, r.is_relevant FROM gregory_articlesubjectrelevance r JOIN articles a USING (article_id)
      WHERE r.subject_id = {LARGE} AND r.is_relevant IS NOT NULL ORDER BY r.article_id) TO STDOUT
"""


def generate(
    connection: psycopg.Connection[Any], *, articles: int, subjects: int, info: Callable[[str], None] = lambda words: None
) -> None:
    """Make the newest of GregoryAI's schemas and fill it. Each article has 3 subjects, and one subject has a tenth of the articles."""
    for name in ("django", "newest"):
        connection.execute((SCHEMA_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
    # The records are correct by construction, so foreign keys are not checked.
    connection.execute("SET session_replication_role = replica")
    connection.execute(SENTENCES)
    for what, statement in (("articles", ARTICLES_OF), *ROWS):
        began = time.monotonic()
        count = connection.cursor().execute(statement, {"articles": articles, "subjects": subjects}).rowcount
        info(f"{count} {what} in {time.monotonic() - began:.0f} s")
    connection.execute("RESET session_replication_role")
    connection.execute("VACUUM (ANALYZE)")


def version_folders(models: Path, *, subjects: int) -> int:
    """Make ten version folders of each model, which planning reads. Returns their number."""
    names = [
        f"t{1 + (n - 1) // 10}/s{n}/{algorithm}/2025010{v}" for n in range(1, subjects + 1) for algorithm in ALGORITHMS for v in range(10)
    ]
    for name in names:
        (models / name).mkdir(parents=True)
    return len(names)


def main() -> None:
    """Generate the database, then run each measurement in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--articles", type=int, default=ARTICLES)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--measure", choices=sorted(MEASUREMENTS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        sys.stdout.write(json.dumps(MEASUREMENTS[chosen.measure]()) + "\n")
        return
    programs = postgresql.binaries()
    if programs is None:
        raise SystemExit("no PostgreSQL server on this machine; install one, for example: apt-get install postgresql")
    with postgresql.running(programs) as server, tempfile.TemporaryDirectory() as models:
        server.create("live")
        with server.connect("live") as connection:
            generate(connection, articles=chosen.articles, subjects=chosen.subjects, info=print)
            (size,) = connection.execute("SELECT pg_size_pretty(pg_database_size('live'))").fetchone() or ("",)
            print(f"the database has {size}")
        environment = {**os.environ, **server.environment("live"), "DJANGO_SETTINGS_MODULE": "tests.settings", "TEST_MODELS_DIR": models}
        children.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=REPOSITORY, env=environment, check=True)
        folders = version_folders(Path(models), subjects=chosen.subjects)
        print(f"{folders} version folders")
        for name in MEASUREMENTS:
            argv = [sys.executable, "-m", "benchmarks.live_database", "--measure", name]
            done = children.run(argv, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
            figures = json.loads(done.stdout)
            print(f"{name}: {', '.join(f'{key} {value}' for key, value in figures.items())}")
            if "seconds of COPY" in figures:
                # Both sides are medians of alternating turns.
                ratios.show(f"wall time, {name}", [float(figures["seconds of COPY"]) / float(figures["seconds"])], baseline="COPY")


def planning() -> dict[str, Any]:
    """Planning of every subject of every team with three algorithms, without the time of the imports."""
    from django.conf import settings
    from django.utils import timezone

    from gregory.ml.config import TrainConfig
    from gregory.training.planning import plan
    from gregory.training.request import TrainingRequest

    wanted = TrainingRequest(
        team=None, subject=None, lookback_days=90, algorithms=ALGORITHMS, version=None, config=TrainConfig(), verbosity=1
    )
    with Measured() as measured:
        specs = plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=False)
    return {"runs": len(specs), **measured.figures()}


def corpus_of_the_large_subject() -> dict[str, Any]:
    """The corpus of a run, compared with COPY to the same disk."""
    from django.db import connection

    from gregory.data import corpus
    from gregory.ml.dataset import write_articles
    from gregory.runs.db_retry import read_only_transaction

    def ours(path: Path) -> int:
        with read_only_transaction():
            return write_articles(path, corpus.labelled(LARGE, None))

    def copy(path: Path) -> None:
        with connection.cursor() as cursor, cursor.copy(COPY) as rows, path.open("wb") as stream:
            for block in rows:
                stream.write(block)

    return against_copy(ours, copy)


def pool_of_the_large_subject() -> dict[str, Any]:
    """The unreviewed articles, for pseudo-labels."""
    from gregory.data import corpus
    from gregory.ml.dataset import write_articles
    from gregory.runs.db_retry import read_only_transaction

    with tempfile.TemporaryDirectory() as folder, Measured() as measured, read_only_transaction():
        texts = write_articles(Path(folder) / "pool.jsonl", corpus.unlabelled(LARGE, None))
    return {"texts": texts, **measured.figures()}


def against_copy(ours: Callable[[Path], int], copy: Callable[[Path], None]) -> dict[str, Any]:
    """Alternate both, so that other load affects them equally. Returns medians, after one turn that warms the cache."""
    seconds: dict[str, list[float]] = {"ours": [], "copy": []}
    peaks: list[float] = []
    texts = 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(TURNS + 1):
            with Measured() as bare:
                copy(Path(folder) / "copy")
            with Measured() as measured:
                texts = ours(Path(folder) / "articles.jsonl")
            seconds["copy"].append(bare.seconds)
            seconds["ours"].append(measured.seconds)
            peaks.append(measured.peak_mib)
    medians = {name: median(times[1:]) for name, times in seconds.items()}
    return {
        "texts": texts,
        "seconds": f"{medians['ours']:.2f}",
        "seconds of COPY": f"{medians['copy']:.2f}",
        "ratio": f"{medians['ours'] / medians['copy']:.2f}",
        "peak MiB": f"{max(peaks):.0f}",
    }


class Measured:
    """Seconds of a block, and the difference between its peak of memory and the memory before it."""

    def __enter__(self) -> "Measured":
        # This resets the kernel's peak memory of the process, which includes the imports.
        with suppress(PermissionError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before, self._began = _status("VmRSS"), time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.monotonic() - self._began
        self.peak_mib = (_status("VmHWM") - self._before) / 1024

    def figures(self) -> dict[str, str]:
        return {"seconds": f"{self.seconds:.2f}", "peak MiB": f"{self.peak_mib:.0f}"}


def _status(name: str) -> int:
    """A value of the process's status, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _in_django(measure: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    def measured() -> dict[str, Any]:
        import django

        django.setup()
        from django.db import connection

        # Every command has imported this before it plans.
        import gregory.management.commands.train_models  # noqa: F401

        connection.ensure_connection()
        return measure()

    return measured


MEASUREMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "planning of all teams": _in_django(planning),
    "corpus of the large subject": _in_django(corpus_of_the_large_subject),
    "pool of the large subject": _in_django(pool_of_the_large_subject),
}


if __name__ == "__main__":
    children.execute(main)
