"""Slugs and messages of servers with escape sequences, line breaks, NUL and marks that turn the order of letters."""

import json
from io import StringIO

import pytest
from django.core.management.base import CommandError
from django.core.management.color import color_style

from gregory.launch.errors import SubmitError
from gregory.management.command import ManagementCommand
from gregory.management.console import Console
from gregory.management.text_stream import TextStream
from gregory.models import PredictionRunLog
from gregory.output import Output
from gregory.runs import events
from gregory.runs.events import Event, Level
from gregory.runs.models import RunEvent, TrainingRun
from tests.commands.cluster_runs import ON_CLUSTER, begin, spec_now
from tests.database_rows import label_articles, make_subject, make_team
from tests.reconcile.pretend_cluster import job

# A title of the window, a cleared screen, two line breaks, a line separator and a mark that turns the letters after it.
TEXT = "ms\x1b]0;title\x07\x1b[2J\r\nroot# \u2028\x85\u202eevil"
FOLDED = r"ms\x1b]0;title\x07\x1b[2J root# \u202eevil"
# PostgreSQL stores no NUL, so only a server can send it.
ANSWER = f"{TEXT}\0"


class Terminal(StringIO):
    """A text stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def subject(cluster) -> None:
    label_articles(make_subject(make_team("unprintable"), TEXT))


def unprintable(text: str) -> set[str]:
    return {letter for letter in text if not letter.isprintable()} - {"\n"}


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("subject")
class TestOfCommands:
    def test_the_plan_has_one_line_for_the_subject(self, shell):
        done = shell("train_models", "--team", "unprintable", *ON_CLUSTER, "--dry-run")

        assert (done.code, unprintable(done.out), len(done.out.splitlines())) == (0, set(), 3)
        assert FOLDED in done.out

    def test_lists_have_one_line_for_a_run_and_json_has_the_text(self, shell, cluster):
        cluster.refuses = SubmitError(ANSWER)
        started = shell("train_models", "--team", "unprintable", *ON_CLUSTER)
        listed = shell("training_runs", "list")
        shown = shell("training_runs", "show", TrainingRun.objects.get().run_id)

        assert unprintable("".join((*started[1:], *listed[1:], *shown[1:]))) == set()
        assert [line for line in started.out.splitlines() if line.startswith("root#")] == []
        assert len(listed.out.splitlines()) == 3
        assert all(FOLDED in done.out for done in (listed, shown))
        assert json.loads(shell("training_runs", "list", "--output", "json").out)[0]["subject"] == TEXT

    def test_rows_and_events_have_the_visible_text(self, shell, cluster):
        shell("train_models", "--team", "unprintable", *ON_CLUSTER)
        begin()
        cluster.terminate(spec_now(), summary=ANSWER)
        done = shell("reconcile_runs", "--once")

        line, counts, removed = done.out.splitlines()
        assert (unprintable(done.out), FOLDED in line, removed) == (set(), True, f"removed {job(spec_now())}")
        assert counts == "1 unfinished run, 1 closed"
        texts = [*PredictionRunLog.objects.values_list("error_message", flat=True), *RunEvent.objects.values_list("message", flat=True)]
        assert (unprintable("".join(texts)), any(r"\x1b[2J" in text and r"\x00" in text for text in texts)) == (set(), True)

    def test_a_followed_run_prints_one_line_for_its_end(self, shell, cluster):
        shell("train_models", "--team", "unprintable", *ON_CLUSTER)
        cluster.steps = [begin, lambda: cluster.terminate(spec_now(), summary=ANSWER)]

        done = shell("training_runs", "logs", "--follow", TrainingRun.objects.get().run_id)

        assert (done.code, unprintable(done.out + done.err)) == (1, set())


def event(*, fraction: float | None = None) -> Event:
    return Event(
        level=Level.PROGRESS, at="2025-06-14T12:30:00Z", run_id="0" * 12, subject=TEXT, message=ANSWER, tone="bad", fraction=fraction
    )


def test_a_log_has_one_line_for_an_event():
    assert events.to_text(event()) == rf"2025-06-14T12:30:00Z ERROR 000000000000 {FOLDED}: {FOLDED}\x00"


def test_a_terminal_gets_only_the_colour_of_the_style():
    terminal = Terminal()

    Console(TextStream(Output(terminal)), color_style(force_color=True), verbosity=1).show(event())

    begin, end = "\x1b[31;1m", "\x1b[0m"
    assert terminal.getvalue() == f"{begin}{events.to_text(event())}{end}\n"


def test_the_bar_of_a_terminal_has_the_visible_text():
    terminal = Terminal()
    console = Console(TextStream(Output(terminal)), color_style(force_color=True), verbosity=1)

    console.show(event(fraction=0.5))

    assert FOLDED in terminal.getvalue()
    assert unprintable(terminal.getvalue()) == {"\r"}


def test_an_error_of_a_command_has_the_visible_text():
    class Failing(ManagementCommand):
        def handle(self, *args: object, **flags: object) -> None:
            raise CommandError(ANSWER)

    errors = StringIO()
    with pytest.raises(SystemExit):
        Failing(stdout=StringIO(), stderr=errors).run_from_argv(["manage.py", "failing"])

    assert unprintable(errors.getvalue()) == set()
