"""Interrupted runs of a durable runner: the reconciler submits the next attempt. Real processes."""

import psutil
import pytest

from tests.end_to_end.trainings import wait_for
from tools.installation import Installation

pytestmark = pytest.mark.slow

TRAIN = (
    "train_models",
    "--team",
    "neurology",
    "--subject",
    "migraine-prevention",
    "--algo",
    "lgbm_tfidf,pubmed_bert",
    "--runner",
    "processes",
)


@pytest.fixture
def cluster_installation(demo_installation: Installation) -> Installation:
    demo_installation.set_hyperparameters("bert: {epochs: 40, patience: 40}\n")
    demo_installation.environment["TEST_PROCESS_CLUSTER"] = "1"
    return demo_installation


def at_work(installation: Installation, attempt: int) -> psutil.Process:
    """The process of the run, when this attempt trains BERT. A later attempt continues after the completed epochs."""
    words = "epoch 3/" if attempt == 1 else "continuing after epoch "
    wait_for(lambda: any(words in path.read_text() for path in installation.models.glob(f".runs/*/events-{attempt}.jsonl")), seconds=200)
    return psutil.Process(int(installation.rows()[0]["pid"]))


def interrupt(process: psutil.Process) -> None:
    process.terminate()
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_an_interrupted_run_continues_if_the_command_waits(cluster_installation: Installation):
    with cluster_installation.start(*TRAIN, "--wait") as command:
        interrupt(at_work(cluster_installation, 1))
        wait_for(lambda: cluster_installation.rows()[0]["attempt"] == 2, seconds=60)
        assert at_work(cluster_installation, 2).is_running()
        output, _ = command.communicate(timeout=300)

    assert command.returncode == 0, output
    rows = cluster_installation.rows()
    assert [(row["algorithm"], row["success"], row["attempt"], row["state"]) for row in rows] == [
        ("lgbm_tfidf", True, 2, "succeeded"),
        ("pubmed_bert", True, 2, "succeeded"),
    ]
    assert "neurology/migraine-prevention: attempt 2: running" in output.splitlines()
    assert f"neurology/migraine-prevention/pubmed_bert: version {rows[1]['version']}: success" in output
    cluster_installation.must("verify_models")


def test_an_interrupted_run_is_retried_up_to_the_limit_and_then_closed(cluster_installation: Installation):
    told = cluster_installation.must(*TRAIN)
    assert "follow it with: python manage.py training_runs logs --follow " in told

    for attempt in (1, 2, 3):
        interrupt(at_work(cluster_installation, attempt))
        assert [row["success"] for row in cluster_installation.rows()] == [True, None]
        done = cluster_installation.must("reconcile_runs", "--once")
        assert ("closed (interrupted)" if attempt == 3 else f"attempt {attempt + 1} with pubmed_bert: submitted as ") in done

    lgbm, bert = cluster_installation.rows()
    assert (lgbm["success"], bert["success"], bert["reason"], bert["state"], bert["attempt"]) == (True, False, "interrupted", "failed", 3)
    assert bert["error"].startswith("interrupted by signal 15 (SIGTERM) in stage train-pubmed_bert after ")
    assert bert["error"].endswith("the run had 3 attempts, which is the limit")
    assert not [row for row in cluster_installation.rows() if row["success"] is None]
