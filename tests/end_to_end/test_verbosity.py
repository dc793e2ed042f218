"""The output of train_models at each level of --verbose, in a pipe and on a terminal.

Three trainings are real. The lower levels print the recorded events of a run at level 3.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from django.core.management.color import no_style

from gregory.management.console import Console
from gregory.management.text_stream import TextStream
from gregory.ml import artifacts
from gregory.ml.evaluation import Evaluation
from gregory.ml.metrics import NAMES
from gregory.output import Output
from tests.articles import Row, labelled, store
from tools.installation import REPOSITORY, Installation

GOOD = ("train_models", "--team", "t", "--subject", "good", "--algo", "lgbm_tfidf")
BAD = ("train_models", "--team", "t", "--subject", "contradictory", "--algo", "lgbm_tfidf")
EVENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) [0-9a-f]{12} t/(good|contradictory)(/lgbm_tfidf)?: \S.*")
CONFLICT = "2 articles were left out: identical texts have both labels, relevant and not relevant"
LEFT_OUT = "there are 0 relevant and 0 not relevant after 0 repeated and 20 contradictory texts were left out; label more, "
COLUMNS = 80


@pytest.fixture(scope="module")
def installation_with_both(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path) -> Installation:
    """An installation with a subject that trains with a warning, and a subject that fails in its run."""
    installation = Installation(
        tmp_path_factory.mktemp("verbosity") / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle)}
    )
    installation.must("migrate", "-v0")
    contradiction = [Row(901, "The same", "Words.", "1"), Row(902, "The same", "Words.", "0")]
    store(installation, [*labelled(60, first=1), *contradiction], subject="good")
    store(installation, [Row(number, "The same", "Words.", str(number % 2)) for number in range(1001, 1021)], subject="contradictory")
    return installation


@pytest.fixture(scope="module")
def good(installation_with_both: Installation) -> CompletedProcess[str]:
    """A training at level 3, in a pipe."""
    return installation_with_both.manage(*GOOD, "--verbose", "3")


@pytest.fixture(scope="module")
def bad(installation_with_both: Installation) -> CompletedProcess[str]:
    """A failure at level 3, in a pipe."""
    return installation_with_both.manage(*BAD, "--verbose", "3")


def at_level(done: CompletedProcess[str], level: int) -> list[str]:
    """The lines that the console prints of the events of a run at a lower level."""
    stream = StringIO()
    console = Console(TextStream(Output(stream)), no_style(), verbosity=level)
    for line in done.stdout.splitlines():
        if EVENT.fullmatch(line):
            console.show_line(line)
    return stream.getvalue().splitlines()


def messages(lines: list[str], level: str) -> list[str]:
    """The messages of the event lines of one level."""
    return [line.split(": ", 1)[1] for line in lines if EVENT.fullmatch(line) and line.split(" ")[1] == level]


def test_level_0_prints_no_event(good: CompletedProcess[str], bad: CompletedProcess[str]):
    assert at_level(good, 0) == at_level(bad, 0) == []


def test_level_1_prints_the_steps_and_nothing_else(good: CompletedProcess[str]):
    lines = at_level(good, 1)
    steps = messages(lines, "INFO")
    assert len(steps) == len(lines)
    assert steps[0].startswith("Started run ")
    assert steps[1] == "31 relevant and 31 not relevant articles"
    assert [line.split(" version ")[0] for line in steps if line.startswith(("Started t", "Finished"))] == ["Started training", "Finished"]
    assert steps[-1].startswith("Finished version ")


def test_level_2_adds_the_warnings(good: CompletedProcess[str]):
    assert CONFLICT in messages(at_level(good, 2), "WARNING")
    assert messages(at_level(good, 2), "INFO") == messages(at_level(good, 1), "INFO")


def test_the_manifest_counts_the_articles_of_the_warning(installation_with_both: Installation, good: CompletedProcess[str]):
    row = next(row for row in installation_with_both.rows() if row["subject"] == "good")
    assert CONFLICT in row["warnings"]
    data = artifacts.read_manifest(installation_with_both.models / row["artifact"]).data
    assert (data.labelled, data.duplicates, data.conflicts) == (62, 0, 2)
    assert sum(sum(part.values()) for part in data.parts.values()) == 60


def test_level_3_ends_with_every_metric_of_both_parts(installation_with_both: Installation, good: CompletedProcess[str]):
    assert (good.returncode, good.stderr) == (0, "")
    *events, reports, header, _, validation, test = good.stdout.splitlines()
    assert [line for line in events if not EVENT.fullmatch(line)] == []
    assert CONFLICT in messages(events, "WARNING")
    row = next(row for row in installation_with_both.rows() if row["subject"] == "good")
    figures = {part: [f"{row['metrics'][f'{part}_{name}']:.3f}" for name in NAMES] for part in ("val", "test")}
    columns = [re.split(" {2,}", line.strip()) for line in (header, validation, test)]
    assert columns[0] == ["team", "subject", "algorithm", "version", "result", "part", *NAMES, "read for 95 %", "seconds", "peak MiB"]
    result = f"success, {len(row['warnings'])} warnings"
    assert columns[1][:-2] == ["t", "good", "lgbm_tfidf", row["version"], result, "validation", *figures["val"]]
    evaluation = Evaluation.model_validate_json((installation_with_both.models / row["artifact"] / "evaluation.json").read_text())
    assert evaluation.ranking is not None
    assert columns[2] == ["test", *figures["test"], f"{evaluation.ranking.read.value:.0f} of {evaluation.test.n}"]
    assert reports == f"Model cards: {installation_with_both.models}/<team>/<subject>/<algorithm>/<version>/report.html"


def test_a_pipe_gets_plain_lines(good: CompletedProcess[str], bad: CompletedProcess[str]):
    for done in (good, bad):
        assert not re.search(r"[\r\x1b\x08]", done.stdout + done.stderr)
        assert "%|" not in done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"GREGORY_BASE_MODELS": "/nowhere"},
        {"GREGORY_HYPERPARAMETERS": "/nowhere/hyperparameters.yaml"},
        {"SQLITE_FILE": "/nowhere/db.sqlite3"},
    ],
)
def test_level_0_prints_no_error_before_a_run(installation_with_both: Installation, environment: dict[str, str]):
    done = installation_with_both.manage(*GOOD, "--verbose", "0", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_a_failure_ends_with_1_and_prints_its_reason(bad: CompletedProcess[str]):
    assert (bad.returncode, bad.stderr) == (1, "CommandError: 1 of 1 training failed\n")
    for level in (1, 2, 3):
        lines = at_level(bad, level)
        assert messages(lines, "INFO")[0].startswith("Started run ")
        (failed,) = messages(lines, "ERROR")
        assert re.fullmatch(rf"Failed version \d{{8}}(_\d+)?: .*{re.escape(LEFT_OUT)}.*", failed)
    assert "Finished" not in bad.stdout
    assert "failed: bad_data" in bad.stdout.splitlines()[-1]
    # Without a model there is no card.
    assert "Model cards" not in bad.stdout


def on_terminal(installation: Installation, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal of 80 columns. Returns its exit code and its output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    argv = [sys.executable, str(REPOSITORY / "manage.py"), *arguments]
    environment = {name: value for name, value in installation.environment.items() if name != "NO_COLOR"}
    process = subprocess.Popen(argv, cwd=REPOSITORY, env={**environment, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    sent = b"".join(_sent(ours))
    os.close(ours)
    return process.wait(300), sent.decode()


def _sent(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # the error of Linux after the other end was closed
            return
        if not chunk:
            return
        yield chunk


def plain(text: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_gets_a_bar_that_leaves_only_lines_behind(installation_with_both: Installation):
    code, sent = on_terminal(installation_with_both, *GOOD, "--verbose", "1")

    assert code == 0
    strokes = [stroke for stroke in re.split(r"[\r\n]+", plain(sent)) if "% " in stroke and "|" in stroke]
    assert len(strokes) >= 3
    assert all(stroke.startswith("t/good ") and len(stroke) < COLUMNS for stroke in strokes)
    assert any("█" in stroke for stroke in strokes)
    # The last drawing before a line break remains visible.
    left = [line.rsplit("\r", 1)[-1] for line in plain(sent).replace("\r\n", "\n").split("\n")]
    assert left.pop() == ""
    assert [line for line in left if not EVENT.fullmatch(line)] == []
    assert "\x1b[32;1m" in sent.splitlines()[-1]
    assert re.search(
        r"t/good/lgbm_tfidf: Finished version \d{8}(_\d+)? in \d+ s: test ROC AUC \d\.\d{3}, f1 \d\.\d{3} at threshold 0\.8$", left[-1]
    )


def test_level_0_prints_nothing_on_a_terminal_either(installation_with_both: Installation):
    assert on_terminal(installation_with_both, *BAD, "--verbose", "0") == (1, "")
