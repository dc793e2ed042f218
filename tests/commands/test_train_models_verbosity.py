"""`train_models --verbose`: the output of each level."""

import pytest

from gregory.ml.metrics import NAMES
from gregory.runs.models import TrainingRun
from tests.commands.command_line import DAY, MS, rows

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def output(*, warning: bool) -> str:
    run_id = TrainingRun.objects.latest("pk").run_id
    about = f"{run_id} neurology/ms/lstm:"
    lines = [f"2025-06-14T12:30:00Z WARNING {about} a warning"] if warning else []
    return "".join(f"{line}\n" for line in [*lines, f"2025-06-14T12:30:00Z INFO {about} Finished version {DAY}"])


@pytest.mark.parametrize("verbosity", ["0", "1", "3"])
def test_the_verbosity_flag_of_django_has_no_effect(run, feed, verbosity: str):
    done = run(*MS, "--algo", "lstm", "--runner", "instant", "--verbosity", verbosity)
    assert done == (0, output(warning=False), "")
    assert TrainingRun.objects.get().spec["verbosity"] == 1


@pytest.mark.parametrize(("verbose", "warning"), [("1", False), ("2", True)])
def test_warnings_need_level_2(run, feed, verbose: str, warning: bool):
    assert run(*MS, "--algo", "lstm", "--runner", "instant", "--verbose", verbose, "-v", "0") == (0, output(warning=warning), "")


def test_level_0_prints_nothing_at_any_verbosity_of_django(run, feed):
    assert run(*MS, "--runner", "instant", "--verbose", "0", "-v", "3") == (0, "", "")
    assert len(rows()) == 3


def test_level_3_prints_every_metric_at_the_end(run, feed, models):
    done = run(*MS, "--algo", "lstm", "--runner", "instant", "--verbose", "3")
    assert done.out.startswith(output(warning=True))
    reports, header, _, validation, test = done.out.removeprefix(output(warning=True)).splitlines()
    columns = ["team", "subject", "algorithm", "version", "result", "part", *NAMES, "read for 95 %", "seconds", "peak MiB"]
    assert header.split() == " ".join(columns).split()
    assert validation.split() == ["neurology", "ms", "lstm", DAY, "success", "validation", *["0.500"] * 6, "0", "-"]
    assert test.split() == ["test", *["0.500"] * 6, "-"]
    assert reports == f"Model cards: {models}/<team>/<subject>/<algorithm>/<version>/report.html"
