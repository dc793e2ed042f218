"""manage.py verify_models: compare every version folder with its manifest and with its row."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from gregory.management.account import operator
from gregory.management.command import ManagementCommand
from gregory.management.database import clear_database_errors
from gregory.management.model_rows import Move, compare, promotion_problems
from gregory.ml import artifacts
from gregory.output import counted
from gregory.runs import store
from gregory.runs.exit_codes import FAILURE

ACCEPT = "accept its place with: python manage.py verify_models --accept-moved"


class Command(ManagementCommand):
    """Reads every byte of every version folder. Exit code 0: no difference. 1: a difference, or no answer of the database. 2: usage."""

    help = "Compare every version folder with its manifest and with its row, and print the differences. Exit code 1 if there are any."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Without the flag, the command writes nothing."""
        parser.add_argument(
            "--accept-moved",
            action="store_true",
            help="record the new place of each unchanged model that GregoryAI moved with its subject, with an event of its run",
        )

    @clear_database_errors()
    def handle(self, *args: Any, accept_moved: bool, **flags: Any) -> None:
        """Print a line per problem, then the count."""
        models_dir: Path = settings.MODELS_DIR
        problems: list[str] = []
        folders = list(artifacts.version_folders(models_dir, lambda error: problems.append(f"cannot be listed: {error}")))
        found = compare(models_dir, folders)
        for folder in found.foreign:
            self.stdout.write(f"{folder}: of another program, for example GregoryAI's own trainer: no manifest, and no row of this project")
        for notice in found.notices:
            self.stdout.write(notice)
        moves = [move for move in found.moves if not (accept_moved and self._accept(move))]
        problems += [*found.problems, *promotion_problems(models_dir), *(f"{models_dir}/{move}; {ACCEPT}" for move in moves)]
        for problem in problems:
            self.stdout.write(problem, self.style.ERROR)
        others = f"; {len(found.foreign)} of another program" if found.foreign else ""
        ours = counted(len(folders) - len(found.foreign), "version folder")
        if problems:
            raise CommandError(f"{counted(len(problems), 'problem')} in {ours}{others}", returncode=FAILURE)
        self.stdout.write(f"{ours}, all complete and unchanged{others}", self.style.SUCCESS)

    def _accept(self, move: Move) -> bool:
        accepted = store.accept_place(move.run_log_id, digest=move.digest, origin=move.origin, place=move.place, by=operator())
        if accepted:
            self.stdout.write(f"accepted: {move}")
        return accepted
