"""Killed anywhere, a run goes on where it was: real processes, SIGKILL to all of them at once, at chosen points and at random ones."""

import csv
import json
import random
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from gregory.ml import artifacts
from tests.ml.tiny_bart import tiny_bart
from tests.tiny_bundle import describe, tiny_bundle
from tools.installation import Installation

TRAIN = ("train_models", "--team", "neurology", "--subject", "migraine-prevention", "--all-articles", "--algo", "lgbm_tfidf,pubmed_bert")
ASK = (*TRAIN[:-1], "lgbm_tfidf", "--pseudo-label")
HYPERPARAMETERS = """
bert: {{epochs: 6, patience: 6, learning_rate: 0.003}}
pseudo_label: {{confidence_threshold: {threshold}, max_iterations: 2}}
summariser: {{max_new_tokens: 24, max_source_tokens: 48}}
"""
KILLS = 30


@pytest.fixture(scope="module")
def bundle_with_bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, and a tiny BART that takes its time."""
    root = tiny_bundle(tmp_path_factory.mktemp("bart") / "base_models")
    for path in (root / "summariser").iterdir():
        path.unlink()
    (root / "summariser").rmdir()
    tiny_bart(root / "summariser")
    describe(root)
    return root


@pytest.fixture
def demo_site(demo_site: Installation, bundle_with_bart: Path) -> Installation:
    demo_site.environment["GREGORY_BASE_MODELS"] = str(bundle_with_bart)
    be_sure_from(demo_site, 0.5)
    return demo_site


def be_sure_from(installation: Installation, threshold: float) -> None:
    """Pseudo-labels of this confidence are accepted from now on."""
    installation.set_hyperparameters(HYPERPARAMETERS.format(threshold=threshold))


def confidences(installation: Installation) -> list[float]:
    """Of the newest pseudo-labels."""
    newest = max(installation.models.glob("*/*/pseudo_labels/*.csv"))
    with newest.open(encoding="utf-8", newline="") as file:
        return [float(row["confidence"]) for row in csv.DictReader(file)]


def kill(command: subprocess.Popen[str]) -> None:
    """The command and everything under it, before any of them can react."""
    processes = [psutil.Process(command.pid)]
    processes += processes[0].children(recursive=True)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            if process.is_running():
                process.send_signal(number)
    psutil.wait_procs(processes)


def kill_when(installation: Installation, happened: Callable[[Path], bool], *arguments: str) -> str:
    """Train until something has happened in the one run's folder, then kill it all; the run's id."""
    with installation.start(*arguments) as command:
        deadline = time.monotonic() + 240
        while not (folders := list(installation.models.glob(".runs/*"))) or not happened(folders[0]):
            assert time.monotonic() < deadline, "it did not happen in time"
            assert command.poll() is None, "the run ended before it happened"
            time.sleep(0.002)
        kill(command)
    return folders[0].name


def said(installation: Installation, run_id: str, attempt: int) -> list[str]:
    """What an attempt has told so far, `stage: message` where it came from a stage; nothing once the run has succeeded."""
    try:
        *lines, _ = (installation.models / ".runs" / run_id / f"events-{attempt}.jsonl").read_text(encoding="utf-8").split("\n")
    except (FileNotFoundError, ValueError):
        return []
    return [f"{event['stage']}: {event['message']}" if event.get("stage") else event["message"] for event in map(json.loads, lines)]


def told(stage: str, words: str) -> Callable[[Path], bool]:
    """Whether any attempt has told of this."""

    def happened(folder: Path) -> bool:
        lines = [line for events in folder.glob("events-*.jsonl") for line in events.read_text(encoding="utf-8").splitlines()]
        return any(f'"stage": "{stage}"' in line and words in line for line in lines)

    return happened


def lines_kept(name: str, count: int) -> Callable[[Path], bool]:
    def happened(folder: Path) -> bool:
        file = folder / "stages" / name
        return file.exists() and len(file.read_text(encoding="utf-8").splitlines()) >= count

    return happened


def finished_not_published(folder: Path) -> bool:
    return (folder / "stages" / "train-pubmed_bert" / "out").exists()


def metrics(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {row["algorithm"]: row["metrics"] for row in rows}


def require_whole(installation: Installation) -> None:
    """No version folder is half a model."""
    for folder in artifacts.version_folders(installation.models):
        assert artifacts.verify(folder) == []


# In the order in which a run passes them: what has happened by then, and what the next attempt says of it.
POINTS = {
    "in the summarise stage": (lines_kept("summarise/out.kept/summaries.jsonl", 10), "summarise: continuing after "),
    "in round 2 of pseudo-labelling": (told("pseudo_label", "round 2: epoch 2/"), "pseudo_label: round 2: continuing after epoch "),
    "in BERT epoch 4": (told("train", "epoch 3/"), "train: continuing after epoch "),
    "between save and publish": (finished_not_published, "train-pubmed_bert: done by an earlier attempt"),
}


def test_a_run_killed_at_each_of_these_points_ends_as_if_it_had_not_been(demo_site: Installation):
    # The tiny BERT's answers lie close together, elsewhere on every kind of processor: a first round that takes half of them has a second.
    demo_site.must(*ASK)
    be_sure_from(demo_site, statistics.median(confidences(demo_site)))
    command = (*TRAIN, "--pseudo-label")
    demo_site.must(*command)
    (_, *rows) = demo_site.rows()
    undisturbed, folders = metrics(rows), len(list(artifacts.version_folders(demo_site.models)))
    begun: list[list[dict[str, Any]]] = []
    for attempt, (point, (happened, _)) in enumerate(POINTS.items(), start=1):
        run_id = kill_when(demo_site, happened, *command)
        command = ("train_models", "--resume", run_id)
        begun.append(demo_site.rows()[3:])
        done = [row["algorithm"] for row in begun[-1] if row["success"]]
        assert begun[-1][-1]["success"] is None, point
        assert begun[-1][-1]["attempt"] == attempt, point
        require_whole(demo_site)
        assert len(list(artifacts.version_folders(demo_site.models))) == folders + len(done), point
    # What an attempt has told is gone once its run has succeeded.
    lines = {attempt: said(demo_site, run_id, attempt) for attempt in range(2, len(POINTS) + 1)}
    with demo_site.start(*command) as last:
        while last.poll() is None:
            lines[len(POINTS) + 1] = said(demo_site, run_id, len(POINTS) + 1) or lines.get(len(POINTS) + 1, [])
            time.sleep(0.01)
    assert last.returncode == 0

    for (point, (_, continued)), killed, told_next in zip(POINTS.items(), begun, lines.values(), strict=True):
        unfinished = [row["algorithm"] for row in killed if not row["success"]]
        assert told_next[0].startswith(f"Started run {run_id}: {', '.join(unfinished)}; "), point
        assert any(line.startswith(continued) for line in told_next), (point, told_next)
    rows = demo_site.rows()[3:]
    assert [(row["id"], row["version"], row["success"]) for row in rows] == [(row["id"], row["version"], True) for row in begun[0]]
    for algorithm, figures in metrics(rows).items():
        assert figures == pytest.approx(undisturbed[algorithm], abs=1e-6), algorithm


def test_thirty_kills_at_random_points_never_leave_half_a_model(demo_site: Installation):
    demo_site.must(*TRAIN)
    undisturbed = metrics(demo_site.rows())
    moments = random.Random(69)
    run_id = ""
    attempts = 0
    for _ in range(KILLS):
        with demo_site.start(*(("train_models", "--resume", run_id) if run_id else TRAIN)) as command:
            try:
                command.wait(moments.uniform(1, 10))
            except subprocess.TimeoutExpired:
                kill(command)
        require_whole(demo_site)
        unfinished = [row for row in demo_site.rows() if row["success"] is None]
        attempts += 1
        if unfinished and not (demo_site.models / ".runs" / unfinished[0]["run_id"] / "stages").exists():
            demo_site.must("reconcile_runs", "--once")  # killed before there was anything to continue
            unfinished = []
        run_id = unfinished[0]["run_id"] if unfinished else ""
    if run_id:
        demo_site.must("train_models", "--resume", run_id)

    assert attempts == KILLS
    successes = [row for row in demo_site.rows() if row["success"]]
    assert len(successes) > 2, "no run got through"
    for row in successes:
        assert row["metrics"] == pytest.approx(undisturbed[row["algorithm"]], abs=1e-6)
    assert {row["reason"] for row in demo_site.rows() if row["success"] is False} <= {"not_started", "lost"}
    assert not [row for row in demo_site.rows() if row["success"] is None]
    folders = {str(folder.relative_to(demo_site.models)) for folder in artifacts.version_folders(demo_site.models)}
    assert folders == {row["artifact"] for row in successes}
