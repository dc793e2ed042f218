"""`verify_models` prints every problem with its folder. Its exit code is 1 if there are any."""

import getpass
import os
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gregory.ml import artifacts, promoting, pruning
from gregory.models import PredictionRunLog, Subject
from gregory.runs import store
from gregory.runs.models import AlgorithmRun, RunEvent
from gregory.runs.spec import AlgorithmOutcome, RunSpec
from tests import damage
from tests.database_rows import make_team, opened, outcome
from tests.ml.test_promoting import model as another_model
from tests.planted import plant
from tests.published import publish

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def trained(subject: Any, settings: Any, tmp_path: Path) -> tuple[RunSpec, Path]:
    """One published model whose row is a success."""
    settings.MODELS_DIR = tmp_path
    spec = opened(subject)
    folder = publish(tmp_path, spec, position=0)
    facts = {"artifact": folder.relative_to(tmp_path).as_posix(), "digest": artifacts.digest(folder)}
    store.close_algorithm(spec, AlgorithmOutcome(**spec.algorithms[0].model_dump(), success=True, **facts))
    return spec, folder


def test_complete_folders_are_counted(trained: Any, capsys: pytest.CaptureFixture[str]):
    call_command("verify_models")

    assert capsys.readouterr().out == "1 version folder, all complete and unchanged\n"


def test_a_changed_file_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    (trained[1] / "metrics.json").write_text("{}")

    with pytest.raises(CommandError, match=r"^1 problem in 1 version folder$") as error:
        call_command("verify_models")

    assert error.value.returncode == 1
    assert capsys.readouterr().out == f"{trained[1]}/metrics.json: changed since training (sha256 differs)\n"


def test_a_successful_row_without_a_folder_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, folder = trained
    folder.rename(folder.with_name("elsewhere"))

    with pytest.raises(CommandError, match=r"^2 problems in 1 version folder$"):
        call_command("verify_models")

    assert capsys.readouterr().out.splitlines() == [
        f"{folder.with_name('elsewhere')}: holds team/subject/lstm/20260101; it was moved or copied here; "
        "move it to team/subject/lstm/20260101, the place of its subject",
        f"{folder}: missing, but row {spec.algorithms[0].run_log_id} is a success",
    ]


@pytest.mark.parametrize("kind", damage.DAMAGES)
def test_a_damaged_folder_is_printed_and_the_others_are_checked(
    trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str], kind: str
):
    """The first folder in order of path has the damaged manifest, the second a changed file."""
    _, folder = trained
    damage.replace(folder.with_name("20250101") / "manifest.json", kind)
    (folder / "metrics.json").write_text("{}")

    with pytest.raises(CommandError, match=r"^2 problems in 2 version folders$"):
        call_command("verify_models")

    damaged, changed = capsys.readouterr().out.splitlines()
    assert damaged.startswith(f"{folder.with_name('20250101')}")
    assert changed == f"{folder}/metrics.json: changed since training (sha256 differs)"


@pytest.mark.parametrize("kind", ["a sparse file of 4 GiB", "a pipe", "a link to a device"])
def test_an_object_in_the_place_of_a_model_file_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str], kind: str):
    damage.replace(trained[1] / "metrics.json", kind)

    with pytest.raises(CommandError, match=r"^1 problem in 1 version folder$"):
        call_command("verify_models")

    assert capsys.readouterr().out.startswith(f"{trained[1]}/metrics.json: ")


def test_a_folder_that_cannot_be_listed_is_printed(trained: Any, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "another").mkdir()
    scan = os.scandir

    def refuse(folder: Path) -> Any:
        if Path(folder).name == "another":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(CommandError, match=r"^1 problem in 1 version folder$"):
        call_command("verify_models")

    assert capsys.readouterr().out == f"cannot be listed: [Errno 13] Permission denied: '{tmp_path}/another'\n"


def problem(capsys: pytest.CaptureFixture[str]) -> str:
    """The only problem that the command prints."""
    with pytest.raises(CommandError, match=r"^1 problem in \d+ version folders?$"):
        call_command("verify_models")
    return capsys.readouterr().out.rstrip("\n")


def test_a_replaced_file_with_its_own_checksum_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, folder = trained
    (folder / "metrics.json").write_text('{"test_f1": 0.999}')
    described = artifacts.read_manifest(folder)
    (folder / "manifest.json").unlink()
    artifacts.write_manifest(folder, described)

    row = spec.algorithms[0].run_log_id
    assert problem(capsys) == f"{folder}: its manifest was replaced since training (row {row} has another sha256 of it)"


def test_a_planted_pickle_is_printed_and_not_read(trained: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, folder = trained
    plant(folder, tmp_path / "effect")

    row = spec.algorithms[0].run_log_id
    assert problem(capsys) == f"{folder}: its manifest was replaced since training (row {row} has another sha256 of it)"
    assert not (tmp_path / "effect").exists()


def test_the_digest_of_a_model_is_printed_with_its_run(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    """`load_model` takes it."""
    spec, folder = trained
    call_command("training_runs", "show", spec.run_id)
    assert f"  digest: {artifacts.digest(folder)}\n" in capsys.readouterr().out


def test_a_model_whose_row_failed_is_printed(trained: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec, _ = trained
    folder = publish(tmp_path, spec, position=1)
    store.close_algorithm(spec, outcome(spec, 1, success=False))

    row = spec.algorithms[1].run_log_id
    assert problem(capsys) == f"{folder}: a complete model, but its row {row} failed; remove the folder, or keep it and train again"


def test_a_model_of_an_open_row_is_no_problem(trained: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    publish(tmp_path, trained[0], position=1)

    call_command("verify_models")

    assert capsys.readouterr().out == "2 version folders, all complete and unchanged\n"


@pytest.mark.parametrize("named", ["an open row", "another row's model", "no row of the database"])
def test_a_manifest_of_another_row_in_the_place_of_a_model_is_printed(
    trained: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], named: str
):
    """The record of the place decides. The row that a manifest names may have no digest."""
    spec, folder = trained
    row, pk = spec.algorithms[0].run_log_id, spec.algorithms[1].run_log_id
    if named == "another row's model":
        other = publish(tmp_path, spec, position=1)
        facts = {"artifact": other.relative_to(tmp_path).as_posix(), "digest": artifacts.digest(other)}
        store.close_algorithm(spec, AlgorithmOutcome(**spec.algorithms[1].model_dump(), success=True, **facts))
    elif named == "no row of the database":
        pk = 10**6
    described = artifacts.read_manifest(folder)
    plant(folder, tmp_path / "effect")
    (folder / "manifest.json").unlink()
    provenance = described.provenance.model_copy(update={"run_log_id": pk})
    artifacts.write_manifest(folder, described.model_copy(update={"provenance": provenance}))

    assert problem(capsys) == (
        f"{folder}: row {row} has its model here, and the manifest names row {pk} at team/subject/lstm/20260101; "
        "it was replaced since training"
    )


def test_a_model_without_a_row_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, folder = trained
    PredictionRunLog.objects.all().delete()

    assert problem(capsys) == (
        f"{folder}: a model of row {spec.algorithms[0].run_log_id} of run {spec.run_id}, and the database has no such row; "
        "another database may have it"
    )


def test_a_copied_model_is_not_compared_with_a_row_of_another_run(
    trained: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A machine with its own database gives the same ids to its rows."""
    spec, _ = trained
    other = spec.model_copy(update={"run_id": "0123456789ab"})
    copied = publish(tmp_path, other, position=1)
    store.close_algorithm(spec, outcome(spec, 1, success=False))

    assert problem(capsys) == (
        f"{copied}: a model of row {spec.algorithms[1].run_log_id} of run 0123456789ab, and the database has no such row; "
        "another database may have it"
    )


def test_a_model_whose_row_gregoryai_deleted_keeps_its_digest(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    _, folder = trained
    # GregoryAI's statements do not include the tables of this project.
    PredictionRunLog.objects.all()._raw_delete("default")
    call_command("verify_models")
    assert capsys.readouterr().out == "1 version folder, all complete and unchanged\n"

    described = artifacts.read_manifest(folder)
    (folder / "manifest.json").unlink()
    artifacts.write_manifest(folder, described.model_copy(update={"threads": described.threads + 1}))

    assert "its manifest was replaced since training" in problem(capsys)


def test_a_success_that_names_no_model_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, _ = trained
    store.close_algorithm(spec, outcome(spec, 1))

    assert problem(capsys) == f"row {spec.algorithms[1].run_log_id} is a success and names no model"


def test_a_row_of_another_version_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, folder = trained
    row = spec.algorithms[0].run_log_id
    PredictionRunLog.objects.filter(pk=row).update(model_version="20260101_2")

    assert problem(capsys) == (
        f"{folder}: it names row {row}, and that row has version 20260101_2 of run {spec.run_id} at team/subject/lstm/20260101"
    )


class TestForeignFolders:
    """GregoryAI's own trainer writes version folders into the same tree."""

    def test_they_are_named_and_are_no_problem(self, trained: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        foreign = tmp_path / "team" / "subject" / "lgbm_tfidf" / "20250101"
        foreign.mkdir(parents=True)
        for name in ("lgbm_classifier.joblib", "tfidf_vectorizer.joblib", "metrics.json"):
            (foreign / name).write_text("{}")
        # A failed training of GregoryAI leaves an empty folder.
        (foreign.parent / "20250102").mkdir()

        call_command("verify_models")

        cause = "of another program, for example GregoryAI's own trainer: no manifest, and no row of this project"
        *named, count = capsys.readouterr().out.splitlines()
        assert named == [f"{folder}: {cause}" for folder in (foreign, foreign.parent / "20250102")]
        assert count == "1 version folder, all complete and unchanged; 2 of another program"

    @pytest.mark.parametrize("left", ["", "report.html"])
    def test_a_model_without_its_manifest_is_none_of_them(
        self, trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str], left: str
    ):
        """Its row names it. Without the row, the files do that only this project writes."""
        _, folder = trained
        for file in list(folder.iterdir()):
            file.unlink()
        if left:
            PredictionRunLog.objects.all().delete()
            (folder / left).touch()

        assert problem(capsys) == f"{folder}: no manifest.json: not a complete model"


class TestMovedModels:
    """GregoryAI's `reassign_team_objects` moves the subjects, their rows and their folders to another team."""

    @pytest.fixture
    def moved(self, trained: tuple[RunSpec, Path], tmp_path: Path) -> tuple[RunSpec, Path]:
        """The model at the place of its subject in the new team."""
        spec, folder = trained
        another = make_team("another")
        Subject.objects.update(team=another)
        PredictionRunLog.objects.update(team=another)
        place = tmp_path / "another" / folder.relative_to(tmp_path / "team")
        place.parent.mkdir(parents=True)
        shutil.move(folder, place)
        return spec, place

    def test_the_command_names_the_remedy_and_writes_nothing(self, moved: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
        spec, place = moved
        row = spec.algorithms[0].run_log_id

        assert problem(capsys) == (
            f"{place}: the model of row {row}, moved here from team/subject/lstm/20260101 with its subject; "
            "accept its place with: python manage.py verify_models --accept-moved"
        )
        assert (AlgorithmRun.objects.first().artifact_path, RunEvent.objects.count()) == ("team/subject/lstm/20260101", 0)

    def test_an_accepted_place_is_recorded_with_its_operator(self, moved: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
        spec, place = moved
        before = artifacts.digest(place)

        call_command("verify_models", "--accept-moved")
        call_command("verify_models")

        accepted, *counts = capsys.readouterr().out.splitlines()
        row = spec.algorithms[0].run_log_id
        assert accepted == (
            f"accepted: another/subject/lstm/20260101: the model of row {row}, moved here from team/subject/lstm/20260101 with its subject"
        )
        assert counts == ["1 version folder, all complete and unchanged"] * 2
        assert AlgorithmRun.objects.first().artifact_path == "another/subject/lstm/20260101"
        event = RunEvent.objects.get()
        operator = f"{getpass.getuser()}@{socket.gethostname()}"
        assert (event.run_id, event.kind) == (spec.run_id, "model moved")
        assert event.message == (
            f"row {row}: {operator} accepted the place another/subject/lstm/20260101; the model was trained at team/subject/lstm/20260101"
        )
        assert artifacts.digest(place) == before

    def test_a_model_that_its_subject_left_behind_is_named(self, trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
        """GregoryAI's admin can give one subject to another team. That moves no folder."""
        _, folder = trained
        Subject.objects.update(team=make_team("another"))

        call_command("verify_models")

        assert capsys.readouterr().out.splitlines() == [
            f"{folder}: its subject is now elsewhere, so GregoryAI does not find this model; "
            "move the folder to another/subject/lstm/20260101",
            "1 version folder, all complete and unchanged",
        ]

    def test_a_renamed_subject_needs_its_folder_first(
        self, moved: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        """GregoryAI renames the slug of a subject if the team has it already, and not the folder."""
        _, place = moved
        Subject.objects.update(subject_slug="subject-from-team")

        with pytest.raises(CommandError, match=r"^2 problems in 1 version folder$"):
            call_command("verify_models", "--accept-moved")

        assert capsys.readouterr().out.splitlines()[0] == (
            f"{place}: holds team/subject/lstm/20260101; it was moved or copied here; "
            "move it to another/subject-from-team/lstm/20260101, the place of its subject"
        )
        target = tmp_path / "another" / "subject-from-team" / "lstm" / "20260101"
        target.parent.mkdir(parents=True)
        place.rename(target)
        call_command("verify_models", "--accept-moved")

    def test_the_place_of_another_model_is_not_accepted(self, moved: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
        spec, place = moved
        facts = {"artifact": "another/subject/lstm/20260101", "digest": "0" * 64}
        store.close_algorithm(spec, AlgorithmOutcome(**spec.algorithms[1].model_dump(), success=True, **facts))

        with pytest.raises(CommandError, match=r"^2 problems in 1 version folder$"):
            call_command("verify_models", "--accept-moved")

        row, other = (algorithm.run_log_id for algorithm in spec.algorithms[:2])
        assert capsys.readouterr().out.splitlines()[0] == (
            f"{place}: row {other} has its model here, and the manifest names row {row} at team/subject/lstm/20260101; "
            "it was replaced since training"
        )
        assert AlgorithmRun.objects.get(run_log_id=row).artifact_path == "team/subject/lstm/20260101"

    @pytest.mark.parametrize("change", ["a copy", "another manifest", "a changed file"])
    def test_only_the_unchanged_model_of_its_row_is_accepted(
        self, moved: tuple[RunSpec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
    ):
        _, place = moved
        if change == "a copy":
            shutil.copytree(place, tmp_path / "team" / place.relative_to(tmp_path / "another"))
        elif change == "another manifest":
            described = artifacts.read_manifest(place)
            (place / "manifest.json").unlink()
            artifacts.write_manifest(place, described.model_copy(update={"threads": described.threads + 1}))
        else:
            (place / "metrics.json").write_text("{}")

        with pytest.raises(CommandError):
            call_command("verify_models", "--accept-moved")

        said = capsys.readouterr().out
        assert f"{place}: holds team/subject/lstm/20260101; it was moved or copied here\n" in said
        assert "accepted" not in said
        assert AlgorithmRun.objects.first().artifact_path == "team/subject/lstm/20260101"

    def test_the_model_of_a_deleted_subject_is_not_accepted(self, trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
        _, folder = trained
        folder.rename(folder.with_name("elsewhere"))
        for model in (PredictionRunLog, Subject):
            model.objects.all()._raw_delete("default")

        assert problem(capsys).endswith("it was moved or copied here; its subject was deleted, so remove the folder")


def test_a_success_that_another_program_wrote_names_the_reason(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, _ = trained
    store.close_algorithm(spec, outcome(spec, 1, success=False, error="why"))
    row = spec.algorithms[1].run_log_id
    PredictionRunLog.objects.filter(pk=row).update(success=True)

    assert problem(capsys) == (
        f"row {row} is a success and names no model; another program changed it after its training failed (error): "
        "correct it in GregoryAI's admin"
    )


def test_a_pruned_version_is_no_problem_and_one_that_was_removed_by_hand_is(
    trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]
):
    spec, folder = trained
    another_model(folder.parent, "20260102")
    artifacts_at = {"keep": 1, "with_previous": False, "at": datetime(2026, 1, 2, tzinfo=UTC), "by": "ann"}
    assert pruning.prune(folder.parent, ["20260101"], **artifacts_at) == ["20260101"]
    shutil.rmtree(folder.parent / "20260102")

    call_command("verify_models")

    assert capsys.readouterr().out == "0 version folders, all complete and unchanged\n"
    (folder.parent / "pruned.json").write_text("{}")
    assert problem(capsys) == f"{folder}: missing, but row {spec.algorithms[0].run_log_id} is a success"


def test_a_promoted_version_that_was_removed_by_hand_is_printed(
    trained: tuple[RunSpec, Path], settings: Any, capsys: pytest.CaptureFixture[str]
):
    spec, folder = trained
    algorithm = folder.parent
    promoting.promote(algorithm, "20260101", seen=None, at=datetime(2026, 1, 2, tzinfo=UTC), by="ann", reason="")
    shutil.rmtree(folder)

    with pytest.raises(CommandError, match=r"^2 problems in 0 version folders$"):
        call_command("verify_models")

    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: missing, but row {spec.algorithms[0].run_log_id} is a success",
        f"{algorithm}: version 20260101 is promoted and has no folder; restore it, promote another, or delete {algorithm}/promoted.json",
    ]
