"""manage.py preflight: check everything that a training run needs."""

import json
import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from gregory.management.command import ManagementCommand
from gregory.output import counted
from gregory.preflight import cluster, database, storage
from gregory.preflight.finding import CheckResult, Finding
from gregory.runs.exit_codes import FAILURE

# In the order of the checks. Later areas need the earlier ones.
AREAS: dict[str, Callable[[Mapping[str, Any]], Iterator[Finding]]] = {
    "database": lambda flags: database.check_database(as_run=flags["as_run"]),
    "models": lambda flags: storage.check_models(settings.MODELS_DIR, flags["folders"]),
    "base-models": lambda _: storage.check_base_models(
        settings.BASE_MODELS_DIR, settings.HYPERPARAMETERS_FILE, digest=settings.ENVIRONMENT.GREGORY_BASE_MODELS_DIGEST
    ),
    "cluster": lambda _: cluster.check_cluster(settings.ENVIRONMENT, inherited=os.environ),
}


class Command(ManagementCommand):
    """Prints one line per finding, with its remedy. Changes nothing."""

    help = "Check everything that a training run needs. Print errors with remedies. Exit code 1 if a run would fail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The areas and the output format."""
        parser.add_argument(
            "--only", nargs="+", choices=[*AREAS], default=[*AREAS], metavar="AREA", help=f"check only these areas: {', '.join(AREAS)}"
        )
        parser.add_argument(
            "--folders",
            nargs="+",
            type=_below,
            metavar="FOLDER",
            help="of the models folder, try only these folders: TEAM/SUBJECT/ALGORITHM, or . for the models folder itself",
        )
        parser.add_argument(
            "--as-run", action="store_true", help="the database role of this process is that of runs: check only what a run needs"
        )
        parser.add_argument("--output", choices=["text", "json"], default="text", help="output format (default text)")

    def handle(self, *args: Any, **flags: Any) -> None:
        """Exit code FAILURE if any finding is an error."""
        findings = []
        for area in AREAS:
            if area in flags["only"]:
                for finding in AREAS[area](flags):
                    findings.append(finding)
                    if flags["output"] == "text":
                        self.stdout.write(str(finding), self._paint(finding))
        if flags["output"] == "json":
            self.stdout.write(json.dumps([finding.as_json() for finding in findings], indent=2))
        errors = sum(finding.result is CheckResult.ERROR for finding in findings)
        if errors:
            raise CommandError(f"{counted(errors, 'error')} in {counted(len(findings), 'finding')}", returncode=FAILURE)

    def _paint(self, finding: Finding) -> Callable[[str], str]:
        paints: dict[CheckResult, Callable[[str], str]] = {
            CheckResult.OK: self.style.SUCCESS,
            CheckResult.WARNING: self.style.WARNING,
            CheckResult.ERROR: self.style.ERROR,
        }
        return paints[finding.result]


def _below(value: str) -> Path:
    folder = Path(value)
    if folder.is_absolute() or ".." in folder.parts:
        raise ArgumentTypeError(f"{value} is not a folder below the models folder; name it relative to that: TEAM/SUBJECT/ALGORITHM")
    return folder
