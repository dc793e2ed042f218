"""`verify_models` prints every problem with its folder. Its exit code is 1 if there are any."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gregory.ml import artifacts
from gregory.models import PredictionRunLog
from gregory.runs import store
from gregory.runs.spec import AlgorithmOutcome, RunSpec
from tests import damage
from tests.database_rows import opened, outcome
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

    assert capsys.readouterr().out == "1 version folders, all complete and unchanged\n"


def test_a_changed_file_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    (trained[1] / "metrics.json").write_text("{}")

    with pytest.raises(CommandError, match=r"^1 problems in 1 version folders$") as error:
        call_command("verify_models")

    assert error.value.returncode == 1
    assert capsys.readouterr().out == f"{trained[1]}/metrics.json: changed since training (sha256 differs)\n"


def test_a_successful_row_without_a_folder_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, folder = trained
    folder.rename(folder.with_name("elsewhere"))

    with pytest.raises(CommandError, match=r"^2 problems in 1 version folders$"):
        call_command("verify_models")

    assert capsys.readouterr().out.splitlines() == [
        f"{folder.with_name('elsewhere')}: holds team/subject/lstm/20260101; it was moved or copied here",
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

    with pytest.raises(CommandError, match=r"^1 problems in 1 version folders$"):
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

    with pytest.raises(CommandError, match=r"^1 problems in 1 version folders$"):
        call_command("verify_models")

    assert capsys.readouterr().out == f"cannot be listed: [Errno 13] Permission denied: '{tmp_path}/another'\n"


def problem(capsys: pytest.CaptureFixture[str]) -> str:
    """The only problem that the command prints."""
    with pytest.raises(CommandError, match=r"^1 problems in \d+ version folders$"):
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


def test_a_model_without_a_row_is_printed(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    spec, folder = trained
    PredictionRunLog.objects.all().delete()

    assert problem(capsys) == f"{folder}: a model of row {spec.algorithms[0].run_log_id}, and the database has no such row"


def test_a_model_whose_row_gregoryai_deleted_keeps_its_digest(trained: tuple[RunSpec, Path], capsys: pytest.CaptureFixture[str]):
    _, folder = trained
    # GregoryAI's statements do not include the tables of this project.
    PredictionRunLog.objects.all()._raw_delete("default")
    call_command("verify_models")
    assert capsys.readouterr().out == "1 version folders, all complete and unchanged\n"

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
