"""A command whose output cannot be written does its whole work."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import IO

import pytest
from django.core.management import call_command

from gregory.launch import processes
from gregory.management import commands
from gregory.management.command import ManagementCommand
from gregory.models import Team
from gregory.runs import store
from gregory.runs.models import TrainingRun
from tests.broken_output import broken_output
from tests.commands.command_line import MS, rows
from tests.database_rows import make_subject, make_team, planned
from tools.installation import REPOSITORY, Installation

GREEK = "νευρολογία"


@pytest.fixture(params=["full device", "no reader"])
def broken(request: pytest.FixtureRequest) -> Iterator[IO[str]]:
    with broken_output(request.param) as stream:
        yield stream


def test_every_command_has_the_base_class_that_keeps_output_from_ending_it():
    names = [module.name for module in iter_modules(commands.__path__)]

    found = {name for name in names if issubclass(import_module(f"{commands.__name__}.{name}").Command, ManagementCommand)}

    assert found == set(names)


@pytest.mark.django_db
@pytest.mark.database
class TestInOneProcess:
    def test_every_terminated_run_is_closed(self, broken: IO[str]):
        team = make_team("team")
        ended = processes.handle_of(os.getpid()).model_copy(update={"name": "999999999"})
        for slug in ("one", "two", "three"):
            store.open_run(planned(make_subject(team, slug)), runner="local", handle=ended, triggered_by="a test")

        call_command("reconcile_runs", "--once", stdout=broken, stderr=broken)

        assert set(TrainingRun.objects.values_list("state", "reason")) == {("failed", "not_started")}
        assert TrainingRun.objects.count() == 3

    def test_every_model_is_trained(self, run, feed, broken: IO[str]):
        call_command("train_models", *MS, runner="instant", verbose=3, stdout=broken, stderr=broken)

        assert [row[3] for row in rows()] == [True] * 3

    def test_a_slug_that_the_terminal_cannot_show_is_trained(self, run, feed, tmp_path: Path):
        Team.objects.filter(slug="neurology").update(slug=GREEK)

        with (tmp_path / "log").open("w", encoding="latin-1") as narrow:
            call_command("train_models", team=GREEK, subject="ms", runner="instant", stdout=narrow)

        assert [row[3] for row in rows()] == [True] * 3
        assert f"{GREEK}/ms".encode("ascii", "backslashreplace") in (tmp_path / "log").read_bytes()


def run_with(installation: Installation, stdout: int | IO[str], *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code and the standard error of a command with this standard output."""
    argv = [sys.executable, str(REPOSITORY / "manage.py"), *arguments]
    done = subprocess.run(
        argv, cwd=REPOSITORY, env={**installation.environment, **environment}, stdout=stdout, stderr=subprocess.PIPE, text=True
    )
    return done.returncode, done.stderr


def test_an_incomplete_output_is_reported_and_the_exit_code_is_that_of_the_work(installation: Installation):
    with Path("/dev/full").open("w") as full:
        listed = run_with(installation, full, "training_runs", "list")
        unknown = run_with(installation, full, "training_runs", "show", "0123456789ab")

    assert listed == (0, "standard output is incomplete: [Errno 28] No space left on device\n")
    assert unknown == (2, "CommandError: there is no run 0123456789ab; the newest: none\n")


def test_the_commands_of_django_work_too(installation: Installation):
    Path(installation.environment["SQLITE_FILE"]).unlink()

    with Path("/dev/full").open("w") as full:
        migrated = run_with(installation, full, "migrate", PYTHONUNBUFFERED="1")

    assert migrated == (0, "")
    assert installation.rows() == []


def test_a_reader_that_ended_is_no_error(installation: Installation):
    reader, writer = os.pipe()
    os.close(reader)

    assert run_with(installation, writer, "training_runs", "list") == (0, "")
    os.close(writer)


def test_a_process_without_standard_output_works(installation: Installation):
    shell = f"exec {sys.executable} manage.py training_runs list >&-"

    done = subprocess.run(["sh", "-c", shell], cwd=REPOSITORY, env=installation.environment, stderr=subprocess.PIPE, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_slug_that_no_file_name_can_have_is_refused_before_any_row(installation: Installation):
    code = f"from tests.database_rows import make_subject, make_team\nmake_subject(make_team({GREEK!r}), 'ms')"
    installation.run_code(code)
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = installation.manage("train_models", "--all-teams", **ascii_names)

    escaped = GREEK.encode("ascii", "backslashreplace").decode()
    assert (done.returncode, installation.rows()) == (2, [])
    assert done.stderr.splitlines()[-1] == (
        f"CommandError: the slug '{escaped}' has letters that file names in ascii lack; set PYTHONUTF8=1"
    )
