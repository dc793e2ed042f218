"""Executes the blocks of a document in their order, as a reader with a checkout would.

The checkout consists of links into this repository. Its models and its database are those of a throw-away installation. Commands that CI
runs itself (`LEFT_TO_CI`) are not run again. The reader runs shell commands, Python, SQL and the commands of a crontab, and writes files.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from gregory.env import DATABASE_VARIABLES
from tests.docs.markdown import Block
from tools.installation import REPOSITORY, Installation

SHELL = {"sh", "bash", "console"}
SHOWN = {"text", "mermaid"}
FILES = {"csv", "yaml", "ini"}

LEFT_TO_CI = ("make setup", "make lint", "make test", "make test-pythons", "make test-rest")
# A training that failed because of its settings fails again, also when it is repeated by hand or resumed.
FAILS = {
    "python -m gregory.ml.stages train --in $folder/stages/train-lgbm_tfidf/in --out again": 1,
    "python manage.py train_models --resume $run": 1,
}
ACTIVATE = "source .venv/bin/activate"


class Reader:
    """Executes blocks in their order and stops at the first failure."""

    def __init__(self, installation: Installation, folder: Path, *, programs: Path | None = None) -> None:
        """programs: a folder that comes first in PATH."""
        self.installation = installation
        self.checkout = folder / "checkout"
        self.checkout.mkdir(parents=True)
        for path in REPOSITORY.iterdir():
            if path.name not in (".git", ".venv", ".venv-prepare", "models", "base_models") and not path.name.startswith("db.sqlite3"):
                (self.checkout / path.name).symlink_to(path)
        (self.checkout / ".venv").symlink_to(sys.prefix)
        (self.checkout / "models").symlink_to(installation.models)
        path = [programs, self.checkout / ".venv/bin", installation.environment["PATH"]]
        self.environment = {**installation.environment, "PATH": ":".join(str(folder) for folder in path if folder)}

    def follow(self, some: list[Block]) -> dict[int, str]:
        """The output of each block, by its line in the document."""
        return {block.line: self._execute(block) for block in some}

    def _execute(self, block: Block) -> str:
        if block.language in SHELL:
            return self._run(block, ["bash", "-euo", "pipefail", "-c", "\n".join(map(self._line, commands(block)))])
        if block.language == "python":
            return self._run(block, ["python", "-c", block.text])
        if block.language == "sql":
            return self.installation.run_code(
                f"from django.db import connection\nprint(connection.cursor().execute({block.text!r}).fetchall())"
            )
        if block.language == "crontab":
            lines = [line.split(maxsplit=5) for line in block.text.splitlines()]
            assert all(re.fullmatch(r"[\d*/,-]+", field) for line in lines for field in line[:5]), lines
            return "".join(self._run(block, ["sh", "-c", line[5].replace("/srv/gregory-train", str(self.checkout))]) for line in lines)
        if block.language in FILES:
            (self.checkout / block.name).write_text(self._content(block), encoding="utf-8")
        return ""

    def _line(self, command: str) -> str:
        if command in LEFT_TO_CI:
            return ":"
        if command == "make demo":
            # The recipe, with the fastest of the three algorithms only. Other tests train all three.
            return "\n".join(f"{line} --algo lgbm_tfidf" if "train_models" in line else line for line in recipe("demo"))
        if command in FAILS:
            return f"status=0; {command} || status=$?; test $status = {FAILS[command]}"
        return command

    def _content(self, block: Block) -> str:
        if block.name != "../gregory.env":
            return block.text
        names = [line.partition("=")[0] for line in block.text.splitlines()]
        assert names == list(DATABASE_VARIABLES.values())
        return "".join(f"{name}={shlex.quote(self.environment[name])}\n" for name in names if name in self.environment)

    def _run(self, block: Block, argv: list[str]) -> str:
        done = subprocess.run(argv, cwd=self.checkout, env=self.environment, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, f"{block} ends with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


def commands(block: Block) -> list[str]:
    """The lines of a shell block, without the prompts of a console."""
    return [line.removeprefix("$ ") for line in block.text.splitlines() if line.strip()]


def recipe(target: str) -> list[str]:
    """The lines of a target of the Makefile, as the shell gets them."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    rule = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", text, re.MULTILINE)
    assert rule, f"the Makefile has no target {target}"
    return [line.strip().removeprefix("@").replace("$(BIN)", ".venv/bin") for line in rule.group(1).splitlines()]
