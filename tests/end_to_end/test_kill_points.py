"""A run continues after SIGKILL to all its processes, at chosen points and at random times."""

import csv
import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from gregory.ml import artifacts
from tests.end_to_end.trainings import processes
from tests.ml.tiny_bart import tiny_bart
from tests.tiny_bundle import describe, tiny_bundle
from tools.installation import Installation

pytestmark = pytest.mark.slow

TRAIN = ("train_models", "--team", "neurology", "--subject", "migraine-prevention", "--all-articles", "--algo", "lgbm_tfidf,pubmed_bert")
ASK = (*TRAIN[:-1], "lgbm_tfidf", "--pseudo-label")
HYPERPARAMETERS = """
bert: {{epochs: {epochs}, patience: {epochs}, learning_rate: 0.003}}
pseudo_label: {{confidence_threshold: {threshold}, max_iterations: 2}}
summariser: {{max_new_tokens: 24, max_source_tokens: 48}}
"""
EPOCHS = 6
KILLS = 30
Happened = Callable[[Path, subprocess.Popen[str]], bool]


@pytest.fixture(scope="module")
def bundle_with_bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, and a tiny BART that takes longer than leading sentences."""
    root = tiny_bundle(tmp_path_factory.mktemp("bart") / "base_models")
    for path in (root / "summariser").iterdir():
        path.unlink()
    (root / "summariser").rmdir()
    tiny_bart(root / "summariser")
    describe(root)
    return root


@pytest.fixture
def demo_installation(demo_installation: Installation, bundle_with_bart: Path) -> Installation:
    demo_installation.environment["GREGORY_BASE_MODELS"] = str(bundle_with_bart)
    be_sure_from(demo_installation, 0.5)
    return demo_installation


def be_sure_from(installation: Installation, threshold: float) -> None:
    """Set the confidence threshold of pseudo-labels."""
    installation.set_hyperparameters(HYPERPARAMETERS.format(threshold=threshold, epochs=EPOCHS))


def confidences(installation: Installation) -> list[float]:
    """The confidences in the newest file of pseudo-labels."""
    newest = max(installation.models.glob("[!.]*/[!.]*/pseudo_labels/*.csv"))
    with newest.open(encoding="utf-8", newline="") as file:
        return [float(row["confidence"]) for row in csv.DictReader(file)]


def kill(command: subprocess.Popen[str]) -> None:
    """Kill the command and its descendants. Each is stopped before its children are listed, so that none reacts and none is missed."""
    stopped: list[psutil.Process] = []
    found = [psutil.Process(command.pid)]
    while found:
        process = found.pop()
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            stopped.append(process)
            found += process.children()
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stopped)


def kill_when(installation: Installation, happened: Happened, *arguments: str) -> str:
    """Train until `happened` is true of the run's folder and the command, then kill all processes. Returns the id of the run."""
    with installation.start(*arguments) as command:
        deadline = time.monotonic() + 900
        while not (folders := list(installation.models.glob("[!.]*/[!.]*/.runs/[!.]*"))) or not happened(folders[0], command):
            assert time.monotonic() < deadline, "it did not happen in time"
            assert command.poll() is None, "the run ended before it happened"
            time.sleep(0.002)
        kill(command)
    return folders[0].name


def said(installation: Installation, run_id: str, attempt: int) -> list[str]:
    """The messages of an attempt, with `stage: ` before those of a stage. Empty after the run has succeeded."""
    try:
        (events,) = installation.models.glob(f"*/*/.runs/{run_id}/events-{attempt}.jsonl")
        *lines, _ = events.read_text(encoding="utf-8").split("\n")
    except (FileNotFoundError, ValueError):
        return []
    return [f"{event['stage']}: {event['message']}" if event.get("stage") else event["message"] for event in map(json.loads, lines)]


def told(stage: str, words: str) -> Happened:
    """Whether a message of the stage contains the words, in any attempt."""

    def happened(folder: Path, command: subprocess.Popen[str]) -> bool:
        lines = [line for events in folder.glob("events-*.jsonl") for line in events.read_text(encoding="utf-8").splitlines()]
        return any(f'"stage": "{stage}"' in line and words in line for line in lines)

    return happened


def lines_kept(name: str, count: int) -> Happened:
    def happened(folder: Path, command: subprocess.Popen[str]) -> bool:
        files = folder.glob(f"stages*/{name}")
        return any(len(file.read_text(encoding="utf-8").splitlines()) >= count for file in files)

    return happened


def finished_not_published(folder: Path, command: subprocess.Popen[str]) -> bool:
    """Stop the run after the last epoch: it would publish the model before the test sees the result of the stage."""
    if told("train", f"epoch {EPOCHS}/")(folder, command):
        for job in processes(command, "-m job"):
            job.suspend()
    return any(folder.glob("stages*/train-pubmed_bert/out"))


def metrics(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {row["algorithm"]: row["metrics"] for row in rows}


def require_whole(installation: Installation) -> None:
    """Every version folder is complete."""
    for folder in artifacts.version_folders(installation.models):
        assert artifacts.verify(folder) == []


# In the order of a run: the condition of the kill, and the first words of a message of the next attempt.
POINTS = {
    "in the summarise stage": (lines_kept("summarise/out.kept/summaries.jsonl", 10), "summarise: continuing after "),
    "in round 2 of pseudo-labelling": (told("pseudo_label", "round 2: epoch 2/"), "pseudo_label: round 2: continuing after epoch "),
    "in BERT epoch 4": (told("train", "epoch 3/"), "train: continuing after epoch "),
    "between save and publish": (finished_not_published, "train-pubmed_bert: done by an earlier attempt"),
}


def test_a_run_killed_at_four_points_has_the_result_of_an_undisturbed_run(demo_installation: Installation):
    # The probabilities of the tiny BERT are close together and depend on the processor.
    # The median as threshold leaves texts for a second round.
    demo_installation.must(*ASK)
    be_sure_from(demo_installation, statistics.median(confidences(demo_installation)))
    command = (*TRAIN, "--pseudo-label")
    demo_installation.must(*command)
    (_, *rows) = demo_installation.rows()
    undisturbed, folders = metrics(rows), len(list(artifacts.version_folders(demo_installation.models)))
    begun: list[list[dict[str, Any]]] = []
    for attempt, (point, (happened, _)) in enumerate(POINTS.items(), start=1):
        run_id = kill_when(demo_installation, happened, *command)
        command = ("train_models", "--resume", run_id)
        begun.append(demo_installation.rows()[3:])
        done = [row["algorithm"] for row in begun[-1] if row["success"]]
        assert begun[-1][-1]["success"] is None, point
        assert begun[-1][-1]["attempt"] == attempt, point
        require_whole(demo_installation)
        assert len(list(artifacts.version_folders(demo_installation.models))) == folders + len(done), point
    # The messages are removed when the run succeeds, so they are read before.
    lines = {attempt: said(demo_installation, run_id, attempt) for attempt in range(2, len(POINTS) + 1)}
    with demo_installation.start(*command) as last:
        while last.poll() is None:
            lines[len(POINTS) + 1] = said(demo_installation, run_id, len(POINTS) + 1) or lines.get(len(POINTS) + 1, [])
            time.sleep(0.01)
    assert last.returncode == 0

    for (point, (_, continued)), killed, told_next in zip(POINTS.items(), begun, lines.values(), strict=True):
        unfinished = [row["algorithm"] for row in killed if not row["success"]]
        assert told_next[0].startswith(f"Started run {run_id}: {', '.join(unfinished)}; "), point
        assert any(line.startswith(continued) for line in told_next), (point, told_next)
    rows = demo_installation.rows()[3:]
    assert [(row["id"], row["version"], row["success"]) for row in rows] == [(row["id"], row["version"], True) for row in begun[0]]
    for algorithm, figures in metrics(rows).items():
        assert figures == pytest.approx(undisturbed[algorithm], abs=1e-6), algorithm


def test_thirty_kills_at_random_times_leave_only_complete_models(demo_installation: Installation):
    demo_installation.must(*TRAIN)
    undisturbed = metrics(demo_installation.rows())
    moments = random.Random(69)
    run_id = ""
    attempts = 0
    for _ in range(KILLS):
        with demo_installation.start(*(("train_models", "--resume", run_id) if run_id else TRAIN)) as command:
            try:
                command.wait(moments.uniform(1, 10))
            except subprocess.TimeoutExpired:
                kill(command)
        require_whole(demo_installation)
        unfinished = [row for row in demo_installation.rows() if row["success"] is None]
        attempts += 1
        if unfinished and not list(demo_installation.models.glob(f"*/*/.runs/{unfinished[0]['run_id']}/stages*")):
            demo_installation.must("reconcile_runs", "--once")  # killed before the first stage
            unfinished = []
        run_id = unfinished[0]["run_id"] if unfinished else ""
    if run_id:
        demo_installation.must("train_models", "--resume", run_id)
    elif sum(row["success"] is True for row in demo_installation.rows()) == 2:
        # On a slow machine no run gets through in ten seconds.
        demo_installation.must(*TRAIN)

    assert attempts == KILLS
    successes = [row for row in demo_installation.rows() if row["success"]]
    assert len(successes) > 2, "no run got through"
    for row in successes:
        assert row["metrics"] == pytest.approx(undisturbed[row["algorithm"]], abs=1e-6)
    assert {row["reason"] for row in demo_installation.rows() if row["success"] is False} <= {"not_started", "lost"}
    assert not [row for row in demo_installation.rows() if row["success"] is None]
    folders = {str(folder.relative_to(demo_installation.models)) for folder in artifacts.version_folders(demo_installation.models)}
    assert folders == {row["artifact"] for row in successes}
