"""A models volume that gives errors or no answer: its runs wait for their ends, and the others go on.

The volume is a double here: a function that raises or does not return. tests/reconcile/test_broken_mount.py has a real one.
"""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Observation, Status
from gregory.ml import files
from gregory.models import Subject
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ResultKind
from gregory.runs import recovery, store, volume
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.training import resume
from tests.database_rows import HERE, planned
from tests.published import publish
from tests.reconcile.pretend_cluster import PretendCluster, handle_of, job
from tools.launch_installation import installation

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WAITS = "its end waits, because its results are not known: "


@pytest.fixture
def runs(subject: Subject, cluster: PretendCluster) -> list[RunSpec]:
    """Two running runs. The first is reconciled first."""
    specs = []
    for number in range(2):
        other = Subject.objects.create(subject_name=f"{number}", subject_slug=f"s{number}", team=subject.team)
        spec = store.open_run(planned(other, version=f"2026010{number}"), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        store.claim(spec, handle_of(spec), image_digest="")
        specs.append(spec)
    return specs


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The paths whose parts contain one of these give ENOTCONN, as a FUSE mount without its server."""
    names: set[str] = set()
    opened = files.os.open

    def refuse(path: object, *arguments: int, **options: int) -> int:
        if names & set(Path(str(path)).parts):
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(files.os, "open", refuse)
    return names


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The outcome file of every run hangs. The calls, by run id."""
    answer, calls = threading.Event(), []

    def hang(spec: RunSpec, models_dir: Path) -> str:
        # On a busy machine another read could be silent for as long.
        monkeypatch.setattr(volume, "SILENCE_SECONDS", 0.2)
        calls.append(spec.run_id)
        answer.wait()
        return ""

    monkeypatch.setattr(volume, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(recovery, "_outcome_file", hang)
    yield calls
    answer.set()


def act(reconciler: Reconciler) -> list[tuple[ResultKind, str]]:
    return [(result.action, result.detail) for result in reconciler.reconcile_once()]


def states() -> list[str]:
    return list(TrainingRun.objects.order_by("queued_at", "run_id").values_list("state", flat=True))


def test_a_folder_that_cannot_be_read_is_no_missing_model(runs, cluster, reconciler, broken, tmp_path: Path):
    """Its row was closed as failed before, and its complete model was never found again."""
    publish(tmp_path, runs[0], position=0)
    publish(tmp_path, runs[0], position=1)
    for spec in runs:
        cluster.terminate(spec, reason=Reason.KILLED)
    broken.add("lgbm_tfidf")

    first, second = reconciler.reconcile_once()

    assert (first.action, first.is_delayed, first.is_new, first.is_unseen) == (ResultKind.LEFT, True, False, False)
    assert first.detail.startswith(f"{WAITS}the models volume cannot be used: [Errno 107] Transport endpoint is not connected: ")
    assert second.action is ResultKind.LEFT
    assert states() == ["running", "running"]

    broken.clear()
    assert [action for action, _ in act(reconciler)] == [ResultKind.SUCCEEDED, ResultKind.CLOSED]


def test_an_outcome_file_that_cannot_be_read_delays_its_run_only(runs, cluster, reconciler, broken, tmp_path: Path):
    for spec in runs:
        cluster.terminate(spec, reason=Reason.KILLED)
    broken.add(runs[0].run_id)

    assert [action for action, _ in act(reconciler)] == [ResultKind.LEFT, ResultKind.CLOSED]


def test_after_a_read_that_hangs_the_pass_goes_on_at_once(runs, cluster, reconciler, hung, tmp_path: Path):
    for spec in runs:
        cluster.terminate(spec, reason=Reason.KILLED)

    waits = (ResultKind.LEFT, f"{WAITS}the models volume {tmp_path} does not answer")
    assert act(reconciler) == [waits, waits]
    assert act(reconciler) == [waits, waits]
    assert hung == [runs[0].run_id]
    assert states() == ["running", "running"]


def test_a_hung_volume_leaves_runs_that_work_alone(runs, cluster, reconciler, hung):
    cluster.terminate(runs[0], reason=Reason.KILLED)
    cluster.jobs[job(runs[1])] = Observation(status=Status.PENDING, detail="Pulling image")

    assert [action for action, _ in act(reconciler)] == [ResultKind.LEFT, ResultKind.NOTED]


def test_a_missing_run_counts_from_the_first_observation_although_the_volume_is_away(runs, cluster, reconciler, monkeypatch):
    def refuse(path: Path) -> bool:
        raise volume.VolumeUnavailable("the models volume does not answer")

    monkeypatch.setattr(reconciler.volume, "is_folder", refuse)
    cluster.jobs.clear()

    details = [detail for _, detail in act(reconciler)]

    assert details == ["the Job is not there; it counts as terminated if it is still missing in 120 s"] * 2
    assert TrainingRun.objects.filter(missing_since=None).count() == 0


def test_a_resume_is_refused_while_the_volume_is_away(runs, cluster, reconciler, monkeypatch):
    def refuse(call: object) -> bool:
        raise volume.VolumeUnavailable("the models volume does not answer")

    cluster.shares_models_dir = True
    monkeypatch.setattr(resume, "RUNNERS", {"pretend": "a test's"})
    monkeypatch.setattr(reconciler.volume, "read", refuse)
    cluster.terminate(runs[0], reason=Reason.KILLED)
    run = TrainingRun.objects.get(pk=runs[0].run_id)

    with pytest.raises(store.RunRefused, match=rf"^run {run.run_id} is not resumed: the models volume does not answer$"):
        resume.check(run, reconciler)
    run.reason = Reason.KILLED
    assert resume.hint(run, reconciler) == ""


def test_the_log_of_a_local_run_is_empty_while_the_volume_is_away(runs, tmp_path: Path, monkeypatch):
    runner = LocalRunner(installation(tmp_path))

    def refuse(call: object) -> str:
        raise volume.VolumeUnavailable("the models volume does not answer")

    monkeypatch.setattr(runner._volume, "read", refuse)

    assert runner.log_tail(runs[0]) == ""


def test_a_reconciler_without_the_volume_ends_runs_as_before(runs, cluster, tmp_path: Path):
    for spec in runs:
        cluster.terminate(spec, reason=Reason.KILLED)
    elsewhere = Reconciler(runner_for=cluster, models_dir=tmp_path / "elsewhere", stale_after=900)

    assert [action for action, _ in act(elsewhere)] == [ResultKind.CLOSED, ResultKind.CLOSED]
    assert not runs[0].folder(tmp_path).stages().exists()
