"""A damaged file or row of one run is the problem of that run only."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gregory.launch.local.runner import LocalRunner
from gregory.ml import artifacts
from gregory.models import Subject
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import store
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from tests import damage
from tests.database_rows import HERE, planned
from tests.published import publish
from tests.reconcile.pretend_cluster import PretendCluster, handle_of
from tools.launch_installation import installation

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def killed(subject: Subject, cluster: PretendCluster) -> tuple[RunSpec, RunSpec]:
    """Two terminated runs. The first is reconciled first."""
    specs = []
    for number in range(2):
        other = Subject.objects.create(subject_name=f"{number}", subject_slug=f"s{number}", team=subject.team)
        spec = store.open_run(planned(other, version=f"2026010{number}"), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        store.claim(spec, handle_of(spec), image_digest="")
        cluster.terminate(spec, reason=Reason.KILLED)
        specs.append(spec)
    return specs[0], specs[1]


def reconcile(cluster: PretendCluster, models: Path) -> list[ReconcileResult]:
    return list(Reconciler(runner_for=cluster, models_dir=models, stale_after=900).reconcile_once())


def states() -> list[tuple[str, str]]:
    return list(TrainingRun.objects.order_by("queued_at", "run_id").values_list("state", "reason"))


@pytest.mark.parametrize("kind", damage.DAMAGES)
def test_a_damaged_outcome_file_ends_no_pass(killed, cluster, tmp_path: Path, kind: str):
    damage.replace(killed[0].folder(tmp_path).outcome_file, kind)

    reconcile(cluster, tmp_path)

    assert states() == [("failed", "killed")] * 2


@pytest.mark.parametrize("kind", damage.DAMAGES)
@pytest.mark.parametrize("name", ["manifest.json", "metrics.json"])
def test_a_damaged_version_folder_ends_no_pass(killed, cluster, tmp_path: Path, kind: str, name: str):
    damage.replace(publish(tmp_path, killed[0], position=0) / name, kind)

    reconcile(cluster, tmp_path)

    assert states() == [("failed", "killed")] * 2


def test_a_model_with_damaged_curves_is_a_success_without_them(killed, cluster, tmp_path: Path):
    """The pod that writes the curves also writes the manifest with their checksum."""
    staged = publish(tmp_path, killed[0], position=0)
    (staged / "evaluation.json").write_text("[" * 200_000)
    described = artifacts.read_manifest(staged)
    (staged / "manifest.json").unlink()
    artifacts.write_manifest(staged, described)

    reconcile(cluster, tmp_path)

    row = AlgorithmRun.objects.get(run_log_id=killed[0].algorithms[0].run_log_id)
    assert (row.run_log.success, row.evaluation) == (True, {})


@pytest.mark.parametrize("change", [{"warnings": ("N\0L",)}, {"compute": {"device": "\0"}}])
def test_a_manifest_that_the_database_cannot_store_is_no_success(killed, cluster, tmp_path: Path, change: dict[str, Any]):
    folder = publish(tmp_path, killed[0], position=0)
    damaged = artifacts.read_manifest(folder).model_copy(update=change)
    (folder / "manifest.json").write_text(damaged.model_dump_json())
    assert artifacts.verify(folder) == []

    reconcile(cluster, tmp_path)

    assert states() == [("failed", "killed")] * 2
    assert not AlgorithmRun.objects.filter(run_log__success=True).exists()


@pytest.mark.parametrize("damaged", [{"metrics": {"test_f1": float("nan")}}, {"warnings": ["N\0L"]}])
def test_a_report_that_the_database_cannot_store_is_not_believed(killed, cluster, tmp_path: Path, damaged: dict[str, Any]):
    """The release that claimed the run signs no report."""
    TrainingRun.objects.update(claim_key="")
    row = {**dict(killed[0].algorithms[0]), "success": False, "error": "x", **damaged}
    report = json.dumps({"run_id": killed[0].run_id, "attempt": 1, "algorithms": [row]})
    cluster.terminate(killed[0], reason=Reason.KILLED, report=report)

    reconcile(cluster, tmp_path)

    assert states() == [("failed", "killed")] * 2
    assert not AlgorithmRun.objects.exclude(warnings=[]).exists()


def test_an_unexpected_error_of_one_run_leaves_the_others(killed, cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(spec: RunSpec) -> str:
        if spec.run_id == killed[0].run_id:
            raise KeyError("status")
        return ""

    monkeypatch.setattr(cluster, "log_tail", broken)

    first, second = reconcile(cluster, tmp_path)

    assert (first.action, first.detail, second.action) == (ResultKind.ERROR, "KeyError: 'status'", ResultKind.CLOSED)
    assert first.traceback.startswith("Traceback")
    assert states() == [("running", ""), ("failed", "killed")]


def test_once_names_the_run_that_the_program_could_not_reconcile(killed, cluster, settings, tmp_path: Path, monkeypatch, capsys):
    settings.MODELS_DIR = tmp_path
    monkeypatch.setattr("gregory.management.runners.runner_named", cluster)
    monkeypatch.setattr(cluster, "log_tail", lambda spec: 1 // (spec.run_id != killed[0].run_id) and "")

    with pytest.raises(CommandError, match=rf"^these runs could not be reconciled: {killed[0].run_id}$") as error:
        call_command("reconcile_runs", "--once")

    assert error.value.returncode == 1
    output = capsys.readouterr()
    assert output.err.startswith(f"run {killed[0].run_id}: Traceback")
    assert "\n2 unfinished runs, 1 closed\n" in output.out


def test_a_folder_that_cannot_be_removed_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folders = tmp_path / ".runs"
    for name in ("a", "b", "c"):
        (folders / name).mkdir(parents=True)
    (folders / "0").symlink_to(tmp_path)
    os.mkfifo(folders / "1")
    remove = os.rmdir

    def refuse(path: str, **options: int) -> None:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        remove(path, **options)

    monkeypatch.setattr(os, "rmdir", refuse)
    removed = []

    with pytest.raises(OSError, match=r"^.*/\.runs/b: the models volume cannot be used: \[Errno 13\] Permission denied: 'b'$"):  # noqa: PT012 - the removed folders come first
        for name in LocalRunner(installation(tmp_path)).collect_garbage(set(), keep_seconds=-1):
            removed.append(name)

    assert removed == ["the working folder of a", "the working folder of c"]
    assert sorted(path.name for path in folders.iterdir()) == ["0", "1", "b"]
