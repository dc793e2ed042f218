"""The messages of a reconciler about runs that it cannot observe."""

from datetime import UTC, datetime, timedelta

from gregory.management.unreachable import UnreachableTracker
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs.models import TrainingRun

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SEEN = ReconcileResult(run=TrainingRun(run_id="seen"), action=ResultKind.LEFT, detail="runs")
AWAY = ReconcileResult(run=TrainingRun(run_id="away"), action=ResultKind.LEFT, detail="the API server does not answer", unknown=True)
BROKEN = ReconcileResult(run=TrainingRun(run_id="broken"), action=ResultKind.UNSEEN, detail="no kubeconfig")


def messages(*passes: list[ReconcileResult]) -> list[str]:
    tracker = UnreachableTracker()
    return [tracker.after(changes, now=NOON + timedelta(minutes=number)) for number, changes in enumerate(passes)]


def test_observed_runs_give_no_message():
    assert messages([SEEN], [], [SEEN]) == ["", "", ""]


def test_the_message_has_the_beginning_and_comes_less_and_less_often():
    since = "unknown since 2026-01-02 12:00:00 UTC, for"

    assert messages(*[[SEEN, AWAY]] * 8) == [
        f"{since} 1 pass: 1 of 2 runs: the API server does not answer",
        f"{since} 2 passes: 1 of 2 runs: the API server does not answer",
        "",
        f"{since} 4 passes: 1 of 2 runs: the API server does not answer",
        "",
        "",
        "",
        f"{since} 8 passes: 1 of 2 runs: the API server does not answer",
    ]


def test_a_runner_without_connection_counts():
    assert messages([BROKEN]) == ["unknown since 2026-01-02 12:00:00 UTC, for 1 pass: run broken: no kubeconfig"]


def test_the_return_of_all_runs_is_one_message():
    assert messages([AWAY], [AWAY], [SEEN], [SEEN])[2:] == ["every run is observed again, after 2 passes since 2026-01-02 12:00:00 UTC", ""]
