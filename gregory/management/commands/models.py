"""manage.py models: list and show versions, choose the version that predictions use, and remove old versions."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from gregory.management.account import operator
from gregory.management.command import ManagementCommand
from gregory.management.confirmation import confirmed
from gregory.management.database import clear_database_errors
from gregory.management.model_comparison import Versions, compared, named_folder
from gregory.management.stage_process import perform
from gregory.management.termination import Terminated, signals_raise
from gregory.ml import artifacts, catalogue, models_folder, promoting, pruning
from gregory.ml.comparison import MINIMUM
from gregory.ml.errors import ArtifactError, TrainingError
from gregory.ml.files import replace_text
from gregory.ml.promotion import Promotion, complete_versions, read_promotion
from gregory.ml.stages import contract
from gregory.output import counted
from gregory.reporting.comparison import comparison_facts, comparison_text
from gregory.reporting.models import everything, full_text, list_table, summaries
from gregory.runs import exit_codes
from gregory.runs.exit_codes import FAILURE, USAGE
from gregory.training.request import UsageError, algorithms


class Command(ManagementCommand):
    """Exit code 0: done. 1: failure, and what it names is unchanged. 2: usage. Only `compare --ask` needs the database."""

    help = "List and show the versions of models, compare two, promote one or roll back, and remove old versions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One subcommand for each action."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,compare,report,promote,rollback,prune}")
        listing = actions.add_parser("list", help="list versions, newest first, and those that predictions use")
        showing = actions.add_parser("show", help="show all facts about a version of one or more algorithms")
        comparing = actions.add_parser("compare", help="compare two versions on articles from which neither has learned")
        reporting = actions.add_parser("report", help="write the page of each subject: its models together, and its versions")
        promoting_ = actions.add_parser("promote", help="let predictions use this version until another one is promoted")
        back = actions.add_parser("rollback", help="promote the version again that was promoted before")
        pruning_ = actions.add_parser("prune", help="remove old versions; never the one that predictions use, nor the one before it")
        for one in (listing, showing, comparing, reporting, promoting_, back, pruning_):
            required = one in (showing, comparing, promoting_, back)
            one.add_argument("--team", metavar="SLUG", required=required, help="the team")
            one.add_argument("--subject", metavar="SLUG", required=required, help="the subject of the team")
            one.add_argument("--algo", metavar="A,B,C", help="algorithms (default: all)")
            one.add_argument("--output", choices=["table", "json"], default="table", help="output format (default table)")
        for one in (showing, promoting_):
            one.add_argument("version", metavar="VERSION", help="name of the version, as `models list` prints it")
        for name in ("first", "second"):
            comparing.add_argument(name, metavar=name.upper(), help="VERSION or ALGORITHM/VERSION; the second is compared with the first")
        comparing.add_argument(
            "--ask",
            action="store_true",
            help="ask the models also about other reviewed articles of the database; needs base models",
        )
        comparing.add_argument(
            "--minimum", type=int, default=MINIMUM, metavar="N", help=f"articles of each class that a conclusion needs (default {MINIMUM})"
        )
        promoting_.add_argument(
            "--expect", metavar="VERSION", help="refuse unless this version is promoted now; `none`: unless no version is promoted now"
        )
        for one in (promoting_, back):
            one.add_argument("--reason", default="", metavar="TEXT", help="the reason, which `models show` prints")
        pruning_.add_argument("--keep", type=int, required=True, metavar="N", help="keep the N newest versions of each algorithm")
        pruning_.add_argument("--with-previous", action="store_true", help="remove also the version to which a rollback would go")
        pruning_.add_argument("--dry-run", action="store_true", help="print the versions that would be removed; remove nothing")
        pruning_.add_argument("--yes", action="store_true", help="do not ask")

    @clear_database_errors()
    def handle(self, *args: Any, **flags: Any) -> None:
        """Translate every expected error, and a signal, into one line and an exit code."""
        models_dir: Path = settings.MODELS_DIR
        try:
            if problem := models_folder.missing(models_dir):
                raise ArtifactError(problem)
            with signals_raise():
                getattr(self, f"_{flags['action']}")(self._folders(models_dir, flags), flags)
        except Terminated as terminated:
            raise CommandError(str(terminated), returncode=exit_codes.of_signal(terminated.number)) from terminated
        except UsageError as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except (TrainingError, OSError) as error:
            raise CommandError(str(error), returncode=FAILURE) from error

    def _folders(self, models_dir: Path, flags: dict[str, Any]) -> list[Path]:
        """The folders of the algorithms that the flags select. Raises UsageError if there is none where the flags name a place."""
        team, subject = flags["team"], flags["subject"]
        if subject is not None and team is None:
            raise UsageError(f"--subject {subject} needs --team: a subject slug is unique only within its team")
        found = list(catalogue.algorithm_folders(models_dir, team=team, subject=subject, algorithms=algorithms(flags["algo"])))
        if not found and (team or flags["algo"]):
            place = "/".join(part for part in (team, subject, flags["algo"]) if part)
            raise UsageError(f"the models folder {models_dir} has no models of {place}; list them with: python manage.py models list")
        return found

    def _list(self, folders: list[Path], flags: dict[str, Any]) -> None:
        entries = [entry for folder in folders for entry in catalogue.entries(folder)]
        if flags["output"] == "json":
            self._json(summaries(entries))
        else:
            self.stdout.write(list_table(entries) if entries else "no version")

    def _show(self, folders: list[Path], flags: dict[str, Any]) -> None:
        found = [
            entry for folder in self._having(folders, flags) for entry in catalogue.entries(folder) if entry.version == flags["version"]
        ]
        facts = [everything(one, artifacts.read_manifest(one.folder), promoting.present(one.folder.parent)) for one in found]
        if flags["output"] == "json":
            self._json(facts)
        else:
            self.stdout.write("\n\n".join(full_text(one) for one in facts))

    def _compare(self, folders: list[Path], flags: dict[str, Any]) -> None:
        if flags["minimum"] < 1:
            raise UsageError(f"--minimum {flags['minimum']} must be at least 1")
        subject = folders[0].parent
        first, second = (named_folder(subject, flags[name], algorithms(flags["algo"])) for name in ("first", "second"))
        if first == second:
            raise UsageError(f"{flags['second']} cannot be compared with itself: name two versions")
        done = compared(
            Versions(first=first, second=second), minimum=flags["minimum"], ask=flags["ask"], say=lambda text: self.stderr.write(text)
        )
        names = {"first": "/".join(first.parts[-2:]), "second": "/".join(second.parts[-2:])}
        if flags["output"] == "json":
            self._json(comparison_facts(done, **names))
        else:
            self.stdout.write(comparison_text(done, **names))

    def _report(self, folders: list[Path], flags: dict[str, Any]) -> None:
        pages = []
        for subject in dict.fromkeys(folder.parent for folder in folders):
            with TemporaryDirectory(prefix="gregory-report-") as temporary:
                request = contract.ReportRequest(subject_dir=subject.resolve())
                out = perform("report", Path(temporary), request, say=lambda text: self.stderr.write(text))
                replace_text(subject / artifacts.MODEL_CARD, (out / artifacts.MODEL_CARD).read_text(encoding="utf-8"))
            pages.append(str(subject / artifacts.MODEL_CARD))
            self._say(flags, pages[-1])
        if flags["output"] == "json":
            self._json(pages)

    def _promote(self, folders: list[Path], flags: dict[str, Any]) -> None:
        version, changes = flags["version"], []
        for folder in self._having(folders, flags):
            seen = promoting.present(folder)
            _require_expected(folder, seen, flags["expect"])
            if defects := promoting.defects(folder, version):
                raise ArtifactError("; ".join(defects))
            # Whether the subject had another name when the model was trained is in the database only.
            for sentence in artifacts.misplaced(folder / version):
                self.stderr.write(f"warning: {sentence}; a prediction uses it only if this subject trained it under its earlier name")
            changes.append((folder, seen, partial(promoting.promote, folder, version, seen=seen)))
        self._change(changes, flags)

    def _rollback(self, folders: list[Path], flags: dict[str, Any]) -> None:
        changes = []
        for folder in folders:
            seen = read_promotion(folder)
            # Without --algo, an algorithm that was never promoted stays as it is.
            if seen is None or (seen.previous is None and not flags["algo"]):
                continue
            if seen.previous and (defects := promoting.defects(folder, seen.previous)):
                raise ArtifactError("; ".join(defects))
            changes.append((folder, seen, partial(promoting.roll_back, folder, seen=seen)))
        if not changes:
            raise ArtifactError(
                f"{flags['team']}/{flags['subject']}: no version was promoted before the present one; promote one by its name"
            )
        self._change(changes, flags)

    def _change(self, changes: Iterable[tuple[Path, Promotion | None, Any]], flags: dict[str, Any]) -> None:
        done = []
        for folder, seen, change in changes:
            present = change(at=datetime.now(UTC), by=operator(), reason=flags["reason"])
            if seen and present == seen:
                self._say(flags, f"{folder}: version {seen.version} is promoted already, by {seen.by} at {seen.at:%Y-%m-%d %H:%M}")
            else:
                before = f", before: {seen.version}" if seen else ""
                self._say(flags, f"{folder}: version {present.version} is promoted{before}")
            previous = seen.version if seen else None
            done.append({"folder": str(folder), "previous": previous, **present.model_dump(mode="json", exclude={"history"})})
        if flags["output"] == "json":
            self._json(done)

    def _prune(self, folders: list[Path], flags: dict[str, Any]) -> None:
        keep, with_previous = flags["keep"], flags["with_previous"]
        if keep < 1:
            raise UsageError(f"--keep {keep} must be at least 1")
        plans = {folder: pruning.planned(folder, keep=keep, with_previous=with_previous) for folder in folders}
        doomed = [folder / name for folder, plan in plans.items() for name in plan.remove]
        if not doomed and flags["dry_run"]:
            self._say(flags, f"nothing would be removed with --keep {keep}")
        for folder in doomed:
            self._say(flags, f"{'would remove' if flags['dry_run'] else 'to remove'}: {folder} ({_size(pruning.size(folder))})")
        removed: list[Path] = []
        if doomed and not flags["dry_run"]:
            question = f"remove {counted(len(doomed), 'version')} for ever?"
            if not flags["yes"] and not confirmed(question, self.stderr):
                raise CommandError("nothing was removed", returncode=FAILURE)
            for folder, plan in plans.items():
                names = pruning.prune(folder, plan.remove, keep=keep, with_previous=with_previous, at=datetime.now(UTC), by=operator())
                removed += [folder / name for name in names]
        if flags["output"] == "json":
            stay = {str(folder / name): why for folder, plan in plans.items() for name, why in plan.stay.items()}
            self._json({"planned": [str(one) for one in doomed], "removed": [str(one) for one in removed], "stay": stay})
        elif not flags["dry_run"]:
            self.stdout.write(f"removed {counted(len(removed), 'version')}")

    def _having(self, folders: list[Path], flags: dict[str, Any]) -> list[Path]:
        """The algorithms with this version. Every algorithm of --algo must have it."""
        known = {folder: complete_versions(folder) for folder in folders}
        having = [folder for folder, names in known.items() if flags["version"] in names]
        wanted = algorithms(flags["algo"])
        if having and (not flags["algo"] or len(having) == len(wanted)):
            return having
        names = "; ".join(f"{folder.name}: {', '.join(names) or 'none'}" for folder, names in known.items())
        raise UsageError(f"there is no version {flags['version']} of {flags['algo'] or 'any algorithm'}; the versions: {names}")

    def _say(self, flags: dict[str, Any], sentence: str) -> None:
        """Text for people, which must not be in the JSON."""
        (self.stderr if flags["output"] == "json" else self.stdout).write(sentence)

    def _json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2))


def _require_expected(folder: Path, seen: Promotion | None, expected: str | None) -> None:
    present = seen.version if seen else "none"
    if expected is not None and expected != present:
        by = f" (by {seen.by} at {seen.at:%Y-%m-%d %H:%M})" if seen else ""
        raise ArtifactError(f"{folder}: promoted is {present}{by} and not {expected}, as --expect requires; nothing was changed")


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
