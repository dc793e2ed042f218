"""Every command that a document shows is run as it stands there, block by block, by a reader with a checkout of his own.

The checkout consists of links into this repository; its models and its database are a throw-away installation's. What CI runs itself
(`LEFT_TO_CI`) is not run again, only known to be there. Blocks of other languages are carried out too: a file is written, Python
executed, SQL asked, a crontab's command run.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gregory.env import Environment
from tests.docs.markdown import DOCUMENTS, Block, blocks
from tests.site import REPOSITORY, Site

pytestmark = pytest.mark.slow

LIVE = "Run it on a live GregoryAI database"
ROLE = "A database role of its own"
# Where a reader follows a document: on SQLite, or on PostgreSQL as GregoryAI has it.
ON_SQLITE = {"README.md", "CONTRIBUTING.md", "docs/operations.md"}
ON_POSTGRESQL = {("README.md", LIVE), ("docs/operations.md", ROLE)}

SHELL = {"sh", "bash", "console"}
SHOWN = {"text", "mermaid"}
FILES = {"csv", "yaml", "ini"}

LEFT_TO_CI = ("make setup", "make lint", "make test")
# What failed for a reason of its own fails again, repeated by hand or resumed.
FAILS = {
    "python -m gregory.ml.stages train --in models/.runs/$run/stages/train-lgbm_tfidf/in --out again": 1,
    "python manage.py train_models --resume $run": 1,
}
ACTIVATE = "source .venv/bin/activate"


class Reader:
    """Does what blocks say, in order, and stops at the first that does not work."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.checkout = folder / "checkout"
        self.checkout.mkdir(parents=True)
        for path in REPOSITORY.iterdir():
            if path.name not in (".git", ".venv", ".venv-prepare", "models", "base_models") and not path.name.startswith("db.sqlite3"):
                (self.checkout / path.name).symlink_to(path)
        (self.checkout / ".venv").symlink_to(sys.prefix)
        (self.checkout / "models").symlink_to(site.models)
        self.environment = {**site.environment, "PATH": f"{self.checkout / '.venv/bin'}:{site.environment['PATH']}"}

    def follow(self, some: list[Block]) -> dict[int, str]:
        """What each block printed, by the line of the document."""
        return {block.line: self._carry_out(block) for block in some}

    def _carry_out(self, block: Block) -> str:
        if block.language in SHELL:
            return self._run(block, ["bash", "-euo", "pipefail", "-c", "\n".join(map(self._line, commands(block)))])
        if block.language == "python":
            return self._run(block, ["python", "-c", block.text])
        if block.language == "sql":
            return self.site.run_code(f"from django.db import connection\nprint(connection.cursor().execute({block.text!r}).fetchall())")
        if block.language == "crontab":
            fields = block.text.split(maxsplit=5)
            assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields[:5]), fields
            return self._run(block, ["sh", "-c", fields[5].replace("/srv/gregory-train", str(self.checkout))])
        if block.language in FILES:
            (self.checkout / block.name).write_text(self._content(block), encoding="utf-8")
        return ""

    def _line(self, command: str) -> str:
        if command in LEFT_TO_CI:
            return ":"
        if command == "make demo":
            # The recipe itself with the quickest of the three algorithms: the trainings of all are tested elsewhere.
            return "\n".join(f"{line} --algo lgbm_tfidf" if "train_models" in line else line for line in recipe("demo"))
        if command in FAILS:
            return f"status=0; {command} || status=$?; test $status = {FAILS[command]}"
        return command

    def _content(self, block: Block) -> str:
        if block.language != "ini":
            return block.text
        names = [line.partition("=")[0] for line in block.text.splitlines()]
        assert names == [name for name in Environment.model_fields if name.startswith(("POSTGRES_", "DB_"))]
        return "".join(f"{name}={shlex.quote(self.environment[name])}\n" for name in names if name in self.environment)

    def _run(self, block: Block, argv: list[str]) -> str:
        done = subprocess.run(argv, cwd=self.checkout, env=self.environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{block} ends with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


def commands(block: Block) -> list[str]:
    """The lines of a shell block, without the prompts of a console."""
    return [line.removeprefix("$ ") for line in block.text.splitlines() if line.strip()]


def recipe(target: str) -> list[str]:
    """The lines that a target of the Makefile runs, as a shell would get them."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    rule = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", text, re.MULTILINE)
    assert rule, f"the Makefile has no target {target}"
    return [line.strip().removeprefix("@").replace("$(BIN)", ".venv/bin") for line in rule.group(1).splitlines()]


def all_blocks() -> list[Block]:
    return [block for document in DOCUMENTS if "/decisions/" not in document for block in blocks(document)]


def on_sqlite(document: str) -> list[Block]:
    return [block for block in blocks(document) if (block.document, block.section) not in ON_POSTGRESQL]


@pytest.fixture
def reader(site: Site, tmp_path: Path) -> Reader:
    return Reader(site, tmp_path)


@pytest.fixture
def live_reader(postgresql_site: Site, tmp_path: Path) -> Reader:
    """With a database as GregoryAI leaves it: its tables are there and full, ours are not."""
    postgresql_site.must("load_demo")
    postgresql_site.must("migrate", "gregory_runs", "zero")
    return Reader(postgresql_site, tmp_path)


def test_no_block_is_of_a_language_that_nobody_carries_out():
    known = SHELL | SHOWN | FILES | {"python", "sql", "crontab"}

    assert [f"{block} ({block.language or 'none'})" for block in all_blocks() if block.language not in known] == []


def test_every_block_that_does_something_is_followed_somewhere():
    doing = {(block.document, block.section) for block in all_blocks() if block.language not in SHOWN}

    assert {place for place in doing if place not in ON_POSTGRESQL and place[0] not in ON_SQLITE} == set()


def test_every_block_that_is_a_file_says_which():
    assert [str(block) for block in all_blocks() if (block.language in FILES) != bool(block.name)] == []


def test_fences_are_found_as_github_finds_them():
    for document in DOCUMENTS:
        fences = [line for line in (REPOSITORY / document).read_text(encoding="utf-8").splitlines() if line.lstrip().startswith("```")]
        assert len(fences) == 2 * len(blocks(document)), document


@pytest.mark.parametrize("command", LEFT_TO_CI)
def test_what_is_left_to_ci_is_run_by_ci(command: str):
    in_ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert [line for line in in_ci if line.removeprefix("STRICT=1 ") == command]
    assert re.search(rf"^{command.removeprefix('make ')}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_readme_works_from_top_to_bottom(reader: Reader):
    reader.follow(on_sqlite("README.md"))

    rows = reader.site.rows()
    assert {row["success"] for row in rows} == {True}
    again = [row["version"] for row in rows if row["subject"] == "migraine-prevention"]
    assert again[1] == f"{again[0]}_2"


def test_the_readme_works_on_a_live_database(live_reader: Reader):
    section = [block for block in blocks("README.md") if block.section == LIVE]

    printed = live_reader.follow(section)

    (plan,) = [printed[block.line] for block in section if "migrate --plan" in block.text]
    assert re.findall(r"^\w+\.\d{4}_\w+$", plan, re.MULTILINE) == [
        "gregory_runs.0001_initial",
        "gregory_runs.0002_data_compute_and_no_gpu",
    ]
    rows = live_reader.site.rows()
    assert [(row["subject"], row["success"]) for row in rows] == [
        ("migraine-prevention", True),
        ("migraine-prevention", True),
        ("multiple-sclerosis-remyelination", True),
    ]
    assert [row["version"] for row in rows[1:]] == ["trial-1", "trial-1"]


def test_contributing_works(reader: Reader):
    printed = reader.follow(on_sqlite("CONTRIBUTING.md"))

    assert "passed" in "".join(printed.values())


def test_operations_work_after_a_failure(reader: Reader, tmp_path: Path):
    site = reader.site
    site.must("load_demo")
    # LightGBM itself refuses so many leaves, late enough to leave a stage to look into.
    broken = tmp_path / "broken.yaml"
    broken.write_text("lgbm: {num_leaves: 200000}\n")
    subject = ("--team", "neurology", "--subject", "migraine-prevention")
    assert site.manage("train_models", *subject, "--algo", "lgbm_tfidf", GREGORY_HYPERPARAMETERS=str(broken)).returncode == 1
    # On SQLite there is nothing to say in it.
    (reader.checkout.parent / "gregory.env").touch()

    printed = reader.follow(on_sqlite("docs/operations.md"))

    assert [(row["success"], row["attempt"]) for row in site.rows()] == [(False, 2), (False, 2), (True, 1)]
    (asked,) = [printed[block.line] for block in on_sqlite("docs/operations.md") if block.language == "sql"]
    assert "num_leaves" in asked
    assert "migraine-prevention" in asked


def test_the_same_question_and_a_role_of_its_own_on_postgresql(postgresql_site: Site):
    site = postgresql_site
    site.must("load_demo")
    (grants,) = [block for block in blocks("docs/operations.md") if block.section == ROLE]
    (question,) = [block for block in on_sqlite("docs/operations.md") if block.language == "sql"]
    site.run_code(f"from django.db import connection\nconnection.cursor().execute({grants.text!r})")
    (password,) = re.findall(r"PASSWORD '(.+)'", grants.text)

    role = {"POSTGRES_USER": "gregory_train", "POSTGRES_PASSWORD": password}
    subject = ("--team", "neurology", "--subject", "migraine-prevention")
    trained = site.manage("train_models", *subject, "--algo", "lgbm_tfidf", **role)
    refused = site.manage("shell", "--no-imports", "-c", "from gregory.models import Articles; Articles.objects.all().delete()", **role)

    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "permission denied for table" in refused.stderr
    site.run_code("from gregory.models import PredictionRunLog as Log; Log.objects.update(success=False, error_message='why')")
    code = f"from django.db import connection\nc = connection.cursor()\nc.execute({question.text!r})\nprint(c.fetchall())"
    assert "'why'" in site.run_code(code)
