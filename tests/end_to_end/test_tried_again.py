"""Runs of a machine that keeps what it was handed, with real processes: submitted, left or waited for, taken away and gone on with."""

import psutil
import pytest

from tests.end_to_end.trainings import wait_for
from tools.installation import Installation

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
def cluster_site(demo_site: Installation) -> Installation:
    demo_site.set_hyperparameters("bert: {epochs: 40, patience: 40}\n")
    demo_site.environment["TEST_PROCESS_CLUSTER"] = "1"
    return demo_site


def at_work(installation: Installation, attempt: int) -> psutil.Process:
    """The run, once this attempt is in the middle of training BERT; a later one begins behind the epochs that were done."""
    words = "epoch 3/" if attempt == 1 else "continuing after epoch "
    wait_for(lambda: any(words in path.read_text() for path in installation.models.glob(f".runs/*/events-{attempt}.jsonl")), seconds=200)
    return psutil.Process(int(installation.rows()[0]["pid"]))


def take_away(process: psutil.Process) -> None:
    process.terminate()
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_a_run_that_is_waited_for_goes_on_where_it_was_taken_away(cluster_site: Installation):
    with cluster_site.start(*TRAIN, "--wait") as command:
        take_away(at_work(cluster_site, 1))
        wait_for(lambda: cluster_site.rows()[0]["attempt"] == 2, seconds=60)
        assert at_work(cluster_site, 2).is_running()
        output, _ = command.communicate(timeout=300)

    assert command.returncode == 0, output
    rows = cluster_site.rows()
    assert [(row["algorithm"], row["success"], row["attempt"], row["state"]) for row in rows] == [
        ("lgbm_tfidf", True, 2, "succeeded"),
        ("pubmed_bert", True, 2, "succeeded"),
    ]
    assert "neurology/migraine-prevention: attempt 2: running" in output.splitlines()
    assert f"neurology/migraine-prevention/pubmed_bert: version {rows[1]['version']}: success" in output
    cluster_site.must("verify_models")


def test_a_run_that_is_left_is_tried_so_often_and_then_closed(cluster_site: Installation):
    told = cluster_site.must(*TRAIN)
    assert "follow it with: python manage.py training_runs logs --follow " in told

    for attempt in (1, 2, 3):
        take_away(at_work(cluster_site, attempt))
        assert [row["success"] for row in cluster_site.rows()] == [True, None]
        done = cluster_site.must("reconcile_runs", "--once")
        assert ("closed (interrupted)" if attempt == 3 else f"attempt {attempt + 1} with pubmed_bert: submitted as ") in done

    lgbm, bert = cluster_site.rows()
    assert (lgbm["success"], bert["success"], bert["reason"], bert["state"], bert["attempt"]) == (True, False, "interrupted", "failed", 3)
    assert bert["error"].startswith("interrupted by signal 15 (SIGTERM) in stage train-pubmed_bert after ")
    assert bert["error"].endswith("the run had 3 attempts, which is the limit")
    assert not [row for row in cluster_site.rows() if row["success"] is None]
