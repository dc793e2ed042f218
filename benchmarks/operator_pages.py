"""The lists of the operator pages with 1,000 runs and 10,000 log rows, and the cost of browsers that wait for progress.

Prints the milliseconds of each page, its queries, and how many times as long it takes as with one run. One process, SQLite, no network.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tabulate import tabulate

from benchmarks import children, ratios

RUNS, ROWS_OF_A_RUN, REPEATS = 1_000, 10, 9
BROWSERS, PAUSE = 50, 5.0
PAGES = (
    "/", "/gregory_runs/trainingrun/", "/gregory_runs/trainingrun/?q=subject-7", "/gregory/predictionrunlog/",
    "/gregory/predictionrunlog/?p=100", "/gregory/subject/", "/gregory/articles/", "/gregory/articlesubjectrelevance/",
)  # fmt: skip


def main() -> None:
    """Measure in a temporary database."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="gregory.web.settings",
            GREGORY_WEB_URL="http://127.0.0.1:8000",
            SQLITE_FILE=str(Path(folder) / "db.sqlite3"),
        )
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        measure()


def measure() -> None:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    fill(0, 1)
    alone = {page: median(partial(client.get, page)) for page in PAGES}
    fill(1, RUNS)
    rows = []
    for page in PAGES:
        statements: list[str] = []
        with connection.execute_wrapper(partial(note, statements)):
            assert client.get(page).status_code == 200
        full = median(partial(client.get, page))
        ratios.show(f"wall time of {page} with {RUNS} runs", [alone[page] / full], baseline="the page with one run")
        rows.append([page, f"{1000 * full:.0f}", len(statements), f"{full / alone[page]:.1f}"])
    print(tabulate(rows, headers=["page", "ms", "queries", "times as long"], disable_numparse=True))
    begin = time.process_time()
    for _ in range(200):
        client.get("/progress/?run=run000000001")
    seconds = (time.process_time() - begin) / 200
    share = 100 * seconds * BROWSERS / PAUSE
    print(f"one request for progress: {1000 * seconds:.1f} ms of a processor; {BROWSERS} browsers: {share:.1f} % of it")


def note(statements: list[str], execute: Callable[..., object], sql: str, *rest: object) -> object:
    """Note a statement, and execute it."""
    statements.append(sql)
    return execute(sql, *rest)


def median(call: Callable[[], object]) -> float:
    """Seconds, the median of some calls after a first one."""
    call()
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def fill(first: int, end: int) -> None:
    """Runs of 20 subjects of 4 teams, with their rows. Run 1 is unfinished."""
    from organizations.models import Organization

    from gregory.models import Articles, ArticleSubjectRelevance, PredictionRunLog, Subject, Team
    from gregory.runs.models import AlgorithmRun, TrainingRun

    teams = [
        Team.objects.get_or_create(slug=f"team-{n}", defaults={"organization": Organization.objects.get_or_create(name=f"team-{n}")[0]})[0]
        for n in range(4)
    ]
    subjects = [
        Subject.objects.get_or_create(team=teams[n % 4], subject_slug=f"subject-{n}", defaults={"subject_name": f"subject-{n}"})[0]
        for n in range(20)
    ]
    now = datetime.now(UTC)
    articles = Articles.objects.bulk_create(
        Articles(title=f"Article {n}", link=f"urn:{n}", summary="Words. " * 50) for n in range(first * 10, end * 10)
    )
    ArticleSubjectRelevance.objects.bulk_create(
        ArticleSubjectRelevance(article=article, subject=subjects[n % 20], is_relevant=n % 3 == 0) for n, article in enumerate(articles)
    )
    runs = TrainingRun.objects.bulk_create(
        TrainingRun(
            run_id=f"run{n:09}",
            subject=subjects[n % 20],
            runner="local",
            attempt_token="0",
            state="running" if n == 1 else "succeeded",
            spec={"team": {"id": 1, "slug": f"team-{n % 4}"}, "subject": {"id": 1, "slug": f"subject-{n % 20}"}},
            queued_at=now - timedelta(hours=n),
            started_at=now - timedelta(hours=n),
            log_tail="a line of a log\n" * 100,
        )
        for n in range(first, end)
    )
    logs = PredictionRunLog.objects.bulk_create(
        PredictionRunLog(
            team=run.subject.team, subject=run.subject, model_version="20260101", algorithm="lgbm_tfidf", run_type="train", success=True
        )
        for run in runs
        for _ in range(ROWS_OF_A_RUN)
    )
    AlgorithmRun.objects.bulk_create(
        AlgorithmRun(
            run=runs[n // ROWS_OF_A_RUN], run_log=log, position=n % ROWS_OF_A_RUN, metrics={"test_f1": 0.5}, evaluation={"x": "y" * 5_000}
        )
        for n, log in enumerate(logs)
    )


if __name__ == "__main__":
    children.execute(main)
