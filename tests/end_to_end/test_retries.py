"""Interrupted runs of a durable runner: the reconciler submits the next attempt. Real processes."""

import psutil
import pytest

from tests.end_to_end.trainings import has_ended, wait_for
from tools.installation import Installation

pytestmark = pytest.mark.slow

TRAIN = ("train_models", "--team", "neurology", "--subject", "migraine-prevention", "--runner", "processes", "--algo")


@pytest.fixture(autouse=True)
def cluster_of_processes(demo_installation: Installation) -> None:
    demo_installation.environment["TEST_PROCESS_CLUSTER"] = "1"


def at_work(installation: Installation, attempt: int, words: str) -> psutil.Process:
    """The process of the run, when this attempt says these words."""
    logs = f"[!.]*/[!.]*/.runs/[!.]*/events-{attempt}.jsonl"
    wait_for(lambda: any(words in path.read_text() for path in installation.models.glob(logs)))
    return psutil.Process(int(installation.rows()[0]["pid"]))


def interrupt(process: psutil.Process) -> None:
    process.terminate()
    wait_for(lambda: has_ended(process))


def test_an_interrupted_run_continues_if_the_command_waits(demo_installation: Installation):
    """BERT continues after its completed epochs."""
    demo_installation.set_hyperparameters("bert: {epochs: 40, patience: 40}\n")
    with demo_installation.start(*TRAIN, "lgbm_tfidf,pubmed_bert", "--wait") as command:
        interrupt(at_work(demo_installation, 1, "epoch 3/"))
        wait_for(lambda: demo_installation.rows()[0]["attempt"] == 2)
        assert at_work(demo_installation, 2, "continuing after epoch ").is_running()
        output, _ = command.communicate(timeout=600)

    assert command.returncode == 0, output
    rows = demo_installation.rows()
    assert [(row["algorithm"], row["success"], row["attempt"], row["state"]) for row in rows] == [
        ("lgbm_tfidf", True, 2, "succeeded"),
        ("pubmed_bert", True, 2, "succeeded"),
    ]
    assert "neurology/migraine-prevention: attempt 2: running" in output.splitlines()
    assert f"neurology/migraine-prevention/pubmed_bert: version {rows[1]['version']}: success" in output
    demo_installation.must("verify_models")


def test_an_interrupted_run_is_retried_up_to_the_limit_and_then_closed(long_lgbm: Installation):
    told = long_lgbm.must(*TRAIN, "lgbm_tfidf")
    assert "follow it with: python manage.py training_runs logs --follow " in told

    for attempt in (1, 2, 3):
        interrupt(at_work(long_lgbm, attempt, "round 20/"))
        assert [row["success"] for row in long_lgbm.rows()] == [None]
        done = long_lgbm.must("reconcile_runs", "--once")
        assert ("closed (interrupted)" if attempt == 3 else f"attempt {attempt + 1} with lgbm_tfidf: submitted as ") in done

    (row,) = long_lgbm.rows()
    assert (row["success"], row["reason"], row["state"], row["attempt"]) == (False, "interrupted", "failed", 3)
    assert row["error"].startswith("interrupted by signal 15 (SIGTERM) in stage train-lgbm_tfidf after ")
    assert row["error"].endswith("the run had 3 attempts, which is the limit")
