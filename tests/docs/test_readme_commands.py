"""Runs every command of the documents, block by block. tests/docker and tests/chart run those on Docker and on a cluster."""

import re
from pathlib import Path

import pytest

from gregory.env import RUN_ROLE
from tests.docs.markdown import DOCKER, DOCUMENTS, KUBERNETES, Block, blocks
from tests.docs.reader import FILES, LEFT_TO_CI, SHELL, SHOWN, Reader
from tools.installation import REPOSITORY, Installation

LIVE = "Run it on a live GregoryAI database"
ROLE = "Database roles"
# The database of each document: SQLite, or PostgreSQL with GregoryAI's tables.
ON_SQLITE = {"README.md", "CONTRIBUTING.md", "docs/operations.md"}
ON_POSTGRESQL = {("README.md", LIVE), ("docs/operations.md", ROLE)}
ON_DOCKER = {"docs/docker.md"}
# tests/docs/test_monitoring.py runs this.
MONITORING = {"docs/monitoring.md"}
# tests/chart runs these. tests/launch/kubernetes/test_cluster_config.py reads the file of the second.
ON_CLUSTER = {"docs/kubernetes.md", "docs/cluster-config.md"}


def all_blocks() -> list[Block]:
    return [block for document in DOCUMENTS if "/decisions/" not in document for block in blocks(document)]


def on_sqlite(document: str) -> list[Block]:
    elsewhere = (DOCKER, KUBERNETES)
    return [block for block in blocks(document) if (block.document, block.section) not in ON_POSTGRESQL and block.section not in elsewhere]


@pytest.fixture
def reader(installation: Installation, tmp_path: Path) -> Reader:
    return Reader(installation, tmp_path)


@pytest.fixture
def live_reader(postgresql_installation: Installation, tmp_path: Path) -> Reader:
    """The database has GregoryAI's tables with articles, but not our own tables."""
    postgresql_installation.must("load_demo")
    postgresql_installation.must("migrate", "gregory_runs", "zero")
    return Reader(postgresql_installation, tmp_path)


def test_every_block_has_a_known_language():
    known = SHELL | SHOWN | FILES | {"python", "sql", "crontab"}

    assert [f"{block} ({block.language or 'none'})" for block in all_blocks() if block.language not in known] == []


def test_a_test_runs_every_block_of_commands():
    doing = {(block.document, block.section) for block in all_blocks() if block.language not in SHOWN}

    assert {
        place for place in doing if place not in ON_POSTGRESQL and place[0] not in ON_SQLITE | ON_DOCKER | ON_CLUSTER | MONITORING
    } == set()


def test_every_file_block_has_a_name():
    assert [str(block) for block in all_blocks() if (block.language in FILES) != bool(block.name)] == []


def test_fences_are_found_as_on_github():
    for document in DOCUMENTS:
        fences = [line for line in (REPOSITORY / document).read_text(encoding="utf-8").splitlines() if line.lstrip().startswith("```")]
        assert len(fences) == 2 * len(blocks(document)), document


@pytest.mark.parametrize("command", LEFT_TO_CI)
def test_ci_runs_the_commands_that_are_not_run_here(command: str):
    in_ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert [line for line in in_ci if line.strip().removeprefix("STRICT=1 ") == command]
    assert re.search(rf"^{command.removeprefix('make ')}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.slow
def test_the_readme_works_from_top_to_bottom(reader: Reader):
    some = on_sqlite("README.md")
    outputs = reader.follow(some)

    (answers,) = [outputs[block.line] for block in some if "predict_proba" in block.text]
    assert [line.split(":")[0].split(" ", 1)[1] for line in answers.splitlines()] == ["relevant", "not relevant"]
    assert answers in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = reader.installation.rows()
    assert {row["success"] for row in rows} == {True}
    assert min(row["metrics"][name] for row in rows for name in ("test_f1", "val_f1")) > 0
    again = [row["version"] for row in rows if row["subject"] == "migraine-prevention"]
    assert again[1] == f"{again[0]}_2"


@pytest.mark.slow
def test_the_readme_works_on_a_live_database(live_reader: Reader):
    section = [block for block in blocks("README.md") if block.section == LIVE]

    printed = live_reader.follow(section)

    (plan,) = [printed[block.line] for block in section if "migrate --plan" in block.text]
    assert re.findall(r"^\w+\.\d{4}_\w+$", plan, re.MULTILINE) == [
        f"gregory_runs.{migration.stem}" for migration in sorted((REPOSITORY / "gregory/runs/migrations").glob("[0-9]*.py"))
    ]
    rows = live_reader.installation.rows()
    assert [(row["subject"], row["success"]) for row in rows] == [
        ("migraine-prevention", True),
        ("migraine-prevention", True),
        ("multiple-sclerosis-remyelination", True),
    ]
    assert [row["version"] for row in rows[1:]] == ["trial-1", "trial-1"]


@pytest.mark.slow
def test_contributing_works(reader: Reader):
    printed = reader.follow(on_sqlite("CONTRIBUTING.md"))

    assert "passed" in "".join(printed.values())


WITHOUT_WORDS = """
import json, pathlib
from gregory.models import Articles
articles = list(Articles.objects.all())
pathlib.Path("{kept}").write_text(json.dumps({{article.pk: [article.title, article.summary] for article in articles}}))
for article in articles:
    article.title, article.summary = " ".join(str(article.pk)), ""
Articles.objects.bulk_update(articles, ["title", "summary"])
"""
WITH_WORDS = """
import json, pathlib
from gregory.models import Articles
articles = list(Articles.objects.all())
kept = json.loads(pathlib.Path("{kept}").read_text())
for article in articles:
    article.title, article.summary = kept[str(article.pk)]
Articles.objects.bulk_update(articles, ["title", "summary"])
"""


@pytest.mark.slow
def test_operations_work_after_a_failure(reader: Reader, tmp_path: Path):
    installation = reader.installation
    installation.must("load_demo")
    # No text has a word, so the training fails, and the failed stage leaves its folder.
    kept = tmp_path / "articles.json"
    installation.run_code(WITHOUT_WORDS.format(kept=kept))
    subject = ("--team", "neurology", "--subject", "migraine-prevention")
    assert installation.manage("train_models", *subject, "--algo", "lgbm_tfidf").returncode == 1
    installation.run_code(WITH_WORDS.format(kept=kept))
    # SQLite needs no variables.
    (reader.checkout.parent / "gregory.env").touch()

    printed = reader.follow(on_sqlite("docs/operations.md"))

    assert [(row["success"], row["attempt"]) for row in installation.rows()] == [(False, 2), (False, 2), *[(True, 1)] * 3]
    (asked,) = [printed[block.line] for block in on_sqlite("docs/operations.md") if block.language == "sql"]
    assert "empty vocabulary" in asked
    assert "migraine-prevention" in asked


@pytest.mark.slow
def test_the_query_and_the_database_role_work_on_postgresql(postgresql_installation: Installation, tmp_path: Path):
    installation = postgresql_installation
    installation.must("load_demo")
    (question,) = [block for block in on_sqlite("docs/operations.md") if block.language == "sql"]
    making = [block for block in blocks("docs/operations.md") if block.section == ROLE]
    Reader(installation, tmp_path).follow(making)
    role = dict(re.findall(r"(\w+)='(.+)'", next(block.text for block in making if block.language == "text")))
    assert list(role) == [*RUN_ROLE, *RUN_ROLE.values()]
    subject = ("--team", "neurology", "--subject", "migraine-prevention")
    trained = installation.manage("train_models", *subject, "--algo", "lgbm_tfidf", **role)
    refused = installation.manage(
        "shell", "--no-imports", "-c", "from gregory.models import Articles; Articles.objects.all().delete()", **role
    )

    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "permission denied for table" in refused.stderr
    installation.run_code("from gregory.models import PredictionRunLog as Log; Log.objects.update(success=False, error_message='why')")
    code = f"from django.db import connection\nc = connection.cursor()\nc.execute({question.text!r})\nprint(c.fetchall())"
    assert "'why'" in installation.run_code(code)
