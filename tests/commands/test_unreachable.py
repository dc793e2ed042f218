"""For how long runs have not been seen, as a reconciler tells it."""

from datetime import UTC, datetime, timedelta

from gregory.management.unreachable import UnreachableTracker
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs.models import TrainingRun

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SEEN = ReconcileResult(run=TrainingRun(run_id="seen"), action=ResultKind.LEFT, detail="runs")
AWAY = ReconcileResult(run=TrainingRun(run_id="away"), action=ResultKind.LEFT, detail="the API server does not answer", unknown=True)
BROKEN = ReconcileResult(run=TrainingRun(run_id="broken"), action=ResultKind.UNSEEN, detail="no kubeconfig")


def told(*passes: list[ReconcileResult]) -> list[str]:
    sight = UnreachableTracker()
    return [sight.after(changes, now=NOON + timedelta(minutes=number)) for number, changes in enumerate(passes)]


def test_what_is_seen_is_not_worth_a_word():
    assert told([SEEN], [], [SEEN]) == ["", "", ""]


def test_it_is_told_since_when_and_ever_more_seldom():
    since = "unknown since 2026-01-02 12:00:00 UTC, for"

    assert told(*[[SEEN, AWAY]] * 8) == [
        f"{since} 1 pass: 1 of 2 runs: the API server does not answer",
        f"{since} 2 passes: 1 of 2 runs: the API server does not answer",
        "",
        f"{since} 4 passes: 1 of 2 runs: the API server does not answer",
        "",
        "",
        "",
        f"{since} 8 passes: 1 of 2 runs: the API server does not answer",
    ]


def test_a_runner_that_cannot_even_be_asked_counts():
    assert told([BROKEN]) == ["unknown since 2026-01-02 12:00:00 UTC, for 1 pass: run broken: no kubeconfig"]


def test_their_return_is_told_once():
    assert told([AWAY], [AWAY], [SEEN], [SEEN])[2:] == ["every run is observed again, after 2 passes since 2026-01-02 12:00:00 UTC", ""]
