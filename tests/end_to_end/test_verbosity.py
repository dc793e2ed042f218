"""What an operator sees at each level of --verbose, in a pipe and on a terminal; every run trains for real."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gregory.ml import artifacts
from gregory.ml.metrics import NAMES
from tests.articles import Row, labelled, store
from tools.installation import REPOSITORY, Installation

GOOD = ("train_models", "--team", "t", "--subject", "good", "--algo", "lgbm_tfidf")
BAD = ("train_models", "--team", "t", "--subject", "unreviewed", "--algo", "lgbm_tfidf")
EVENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) [0-9a-f]{12} t/(good|unreviewed)(/lgbm_tfidf)?: \S.*")
CONFLICT = "2 articles were left out: identical texts have both labels, relevant and not relevant"
NO_LABEL = "no labelled article in the data window; label some, or widen the window with --lookback-days N or --all-articles"
COLUMNS = 80


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path) -> Installation:
    """A subject that trains with a warning, and one that cannot be trained."""
    installation = Installation(
        tmp_path_factory.mktemp("verbosity") / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle)}
    )
    installation.must("migrate", "-v0")
    contradiction = [Row(901, "The same", "Words.", "1"), Row(902, "The same", "Words.", "0")]
    store(installation, [*labelled(60, first=1), *contradiction], subject="good")
    store(installation, [Row(1001, "A title", "Words.", "")], subject="unreviewed")
    return installation


@pytest.fixture(scope="module")
def good(place: Installation) -> dict[int, CompletedProcess[str]]:
    """The same training at every level."""
    return {level: place.manage(*GOOD, "--verbose", str(level)) for level in range(4)}


@pytest.fixture(scope="module")
def bad(place: Installation) -> dict[int, CompletedProcess[str]]:
    """The same failure at every level."""
    return {level: place.manage(*BAD, "--verbose", str(level)) for level in range(4)}


def messages(done: CompletedProcess[str], level: str) -> list[str]:
    """What the event lines of one level say."""
    lines = [line for line in done.stdout.splitlines() if EVENT.fullmatch(line)]
    return [line.split(": ", 1)[1] for line in lines if line.split(" ")[1] == level]


def test_every_level_trains(place: Installation, good: dict[int, CompletedProcess[str]]):
    assert [done.returncode for done in good.values()] == [0] * 4
    assert [done.stderr for done in good.values()] == [""] * 4
    assert [row["success"] for row in place.rows() if row["subject"] == "good"] == [True] * 4


def test_level_0_prints_nothing(good: dict[int, CompletedProcess[str]]):
    assert (good[0].stdout, good[0].stderr) == ("", "")


def test_level_1_prints_the_steps_and_nothing_else(good: dict[int, CompletedProcess[str]]):
    lines = good[1].stdout.splitlines()
    assert [line for line in lines if not EVENT.fullmatch(line)] == []
    said = messages(good[1], "INFO")
    assert len(said) == len(lines)
    assert said[0].startswith("Started run ")
    assert said[1] == "31 relevant and 31 not relevant articles"
    assert [line.split(" version ")[0] for line in said if line.startswith(("Started t", "Finished"))] == ["Started training", "Finished"]
    assert said[-1].startswith("Finished version ")


def test_level_2_adds_the_warnings(good: dict[int, CompletedProcess[str]]):
    assert messages(good[1], "WARNING") == []
    assert CONFLICT in messages(good[2], "WARNING")
    assert [line for line in good[2].stdout.splitlines() if not EVENT.fullmatch(line)] == []
    assert messages(good[2], "INFO")[-1].startswith("Finished version ")


def test_what_is_warned_of_is_counted_in_the_manifest(place: Installation, good: dict[int, CompletedProcess[str]]):
    row = next(row for row in place.rows() if row["subject"] == "good")
    assert CONFLICT in row["warnings"]
    data = artifacts.read_manifest(place.models / row["artifact"]).data
    assert (data.labelled, data.duplicates, data.conflicts) == (62, 0, 2)
    assert sum(sum(part.values()) for part in data.parts.values()) == 60


def test_level_3_ends_with_every_metric_of_both_parts(place: Installation, good: dict[int, CompletedProcess[str]]):
    lines = good[3].stdout.splitlines()
    *events, reports, header, _, validation, test = lines
    assert [line for line in events if not EVENT.fullmatch(line)] == []
    assert CONFLICT in messages(good[3], "WARNING")
    row = [row for row in place.rows() if row["subject"] == "good"][3]
    figures = {part: [f"{row['metrics'][f'{part}_{name}']:.3f}" for name in NAMES] for part in ("val", "test")}
    columns = [re.split(" {2,}", line.strip()) for line in (header, validation, test)]
    assert columns[0] == ["team", "subject", "algorithm", "version", "result", "part", *NAMES, "seconds", "peak MiB"]
    result = f"success, {len(row['warnings'])} warnings"
    assert columns[1][:-2] == ["t", "good", "lgbm_tfidf", row["version"], result, "validation", *figures["val"]]
    assert columns[2] == ["test", *figures["test"]]
    assert reports == f"Model cards: {place.models}/<team>/<subject>/<algorithm>/<version>/report.html"


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_pipe_gets_plain_lines(good: dict[int, CompletedProcess[str]], bad: dict[int, CompletedProcess[str]], level: int):
    for done in (good[level], bad[level]):
        assert not re.search(r"[\r\x1b\x08]", done.stdout + done.stderr)
        assert "%|" not in done.stdout


def test_a_failure_ends_with_1_at_every_level(place: Installation, bad: dict[int, CompletedProcess[str]]):
    assert [done.returncode for done in bad.values()] == [1] * 4
    assert [row["success"] for row in place.rows() if row["subject"] == "unreviewed"] == [False] * 4


def test_level_0_does_not_even_say_that_it_failed(bad: dict[int, CompletedProcess[str]]):
    assert (bad[0].stdout, bad[0].stderr) == ("", "")


@pytest.mark.parametrize(
    "environment",
    [
        {"GREGORY_BASE_MODELS": "/nowhere"},
        {"GREGORY_HYPERPARAMETERS": "/nowhere/hyperparameters.yaml"},
        {"SQLITE_FILE": "/nowhere/db.sqlite3"},
    ],
)
def test_nor_why_it_could_not_begin(place: Installation, environment: dict[str, str]):
    done = place.manage(*GOOD, "--verbose", "0", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_other_levels_say_what_failed_and_why(bad: dict[int, CompletedProcess[str]], level: int):
    assert messages(bad[level], "INFO")[0].startswith("Started run ")
    (failed,) = messages(bad[level], "ERROR")
    assert re.fullmatch(rf"Failed version \d{{8}}(_\d+)?: {re.escape(NO_LABEL)}", failed)
    assert bad[level].stderr == "CommandError: 1 of 1 trainings failed\n"
    assert "Finished" not in bad[level].stdout


def test_the_table_gives_the_reason_of_a_failure(bad: dict[int, CompletedProcess[str]]):
    assert "failed: bad_data" in bad[3].stdout.splitlines()[-1]
    assert "failed: bad_data" not in bad[1].stdout + bad[2].stdout


def on_terminal(installation: Installation, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal 80 columns wide: its exit code and every byte the terminal was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    argv = [sys.executable, str(REPOSITORY / "manage.py"), *arguments]
    environment = {name: value for name, value in installation.environment.items() if name != "NO_COLOR"}
    process = subprocess.Popen(argv, cwd=REPOSITORY, env={**environment, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    sent = b"".join(_sent(ours))
    os.close(ours)
    return process.wait(60), sent.decode()


def _sent(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return
        if not chunk:
            return
        yield chunk


def plain(text: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_gets_a_bar_that_leaves_only_lines_behind(place: Installation):
    code, sent = on_terminal(place, *GOOD, "--verbose", "1")

    assert code == 0
    strokes = [stroke for stroke in re.split(r"[\r\n]+", plain(sent)) if "% " in stroke and "|" in stroke]
    assert len(strokes) >= 3
    assert all(stroke.startswith("t/good ") and len(stroke) < COLUMNS for stroke in strokes)
    assert any("█" in stroke for stroke in strokes)
    # A line is left as the last stroke before its end drew it.
    left = [line.rsplit("\r", 1)[-1] for line in plain(sent).replace("\r\n", "\n").split("\n")]
    assert left.pop() == ""
    assert [line for line in left if not EVENT.fullmatch(line)] == []
    assert "\x1b[32;1m" in sent.splitlines()[-1]
    assert re.search(
        r"t/good/lgbm_tfidf: Finished version \d{8}(_\d+)? in \d+ s: test ROC AUC \d\.\d{3}, f1 \d\.\d{3} at threshold 0\.8$", left[-1]
    )


def test_level_0_prints_nothing_on_a_terminal_either(place: Installation):
    assert on_terminal(place, *BAD, "--verbose", "0") == (1, "")
