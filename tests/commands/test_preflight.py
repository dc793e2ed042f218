"""preflight: a line per finding, with its remedy, and an exit code."""

import json
from pathlib import Path

import pytest

from gregory.preflight import storage
from gregory.preflight.finding import CheckResult, Finding
from tests.file_systems import exfat
from tools.installation import Installation


def test_each_finding_is_a_line_and_an_error_is_exit_code_1(installation: Installation):
    done = installation.manage("preflight", "--only", "models", "base-models", "--output", "json", GREGORY_BASE_MODELS="/nowhere")

    findings = json.loads(done.stdout)
    assert [(finding["area"], finding["verdict"]) for finding in findings] == [("models", "ok"), ("base-models", "error")]
    assert "prepare_base_models" in findings[1]["words"]
    assert done.returncode == 1
    assert "1 error in 2 findings" in done.stderr


def errors(found: list[Finding]) -> list[str]:
    return [finding.summary for finding in found if finding.result is CheckResult.ERROR]


def test_a_folder_that_takes_no_model_is_named_with_the_models_that_it_costs(tmp_path: Path, other_file_system: Path):
    """Folders of algorithms on another file system than their subject."""
    (tmp_path / "team" / "other").mkdir(parents=True)
    (tmp_path / "team" / "subject").symlink_to(other_file_system)
    (tmp_path / "team" / "other" / "lstm").symlink_to(other_file_system)
    (tmp_path / "team" / "other" / "notes").symlink_to(other_file_system)
    for ours in (".runs", "lost+found", "team/other/lgbm_tfidf"):
        (tmp_path / ours).mkdir()
    before = sorted(tmp_path.rglob("*"))

    found = list(storage.check_models(tmp_path))

    told = [message.partition(":")[0] for message in errors(found)]
    assert told == ["no model of team/other/lstm can be published"]
    assert f"the folder {tmp_path}/team/other/lstm cannot take a model: Invalid cross-device link; " in errors(found)[0]
    assert len(found) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert list(other_file_system.iterdir()) == []


def test_folders_that_take_models_are_one_finding(tmp_path: Path):
    (tmp_path / "team" / "subject" / "lstm").mkdir(parents=True)

    (found,) = storage.check_models(tmp_path)

    tried = "writing, flushing, reading back and renaming was tried in every folder of models"
    assert (found.result, found.summary) == (CheckResult.OK, f"{tmp_path} takes models: {tried}")


def test_only_the_named_folders_are_tried(installation: Installation):
    """Another team's folder refuses models. A training of this team needs it for nothing."""
    models = installation.models
    (models / "-team").mkdir(parents=True)
    (models / "other").touch()
    flags = ("preflight", "--only", "models", "--folders", ".")

    ours = installation.manage(*flags, "./-team/subject/lstm")
    theirs = installation.manage(*flags, "./-team/subject/lstm", "./other/a/lstm", "./other/b/lstm")
    outside = installation.manage(*flags, "../models/other")

    assert ours.returncode == 0, ours.stdout + ours.stderr
    assert ours.stdout.endswith("in 2 folders; not there yet, and so tried in the folder above: -team/subject/lstm\n")
    assert f"no model of other/a/lstm, other/b/lstm can be published: {models}/other is not a folder; " in theirs.stdout
    assert (theirs.returncode, theirs.stdout.count("ERROR")) == (1, 1)
    assert outside.returncode == 2
    assert "../models/other is not a folder below the models folder; name it relative to that: TEAM/SUBJECT/ALGORITHM" in outside.stderr
    assert sorted(path.name for path in models.rglob("*")) == ["-team", "other"]


def test_a_missing_models_folder_is_one_error(tmp_path: Path):
    (found,) = errors(list(storage.check_models(tmp_path / "models")))

    assert found.startswith(f"no model can be published: the models folder {tmp_path}/models does not exist; mount its volume")


@pytest.mark.root
def test_a_file_system_without_links_is_a_warning(tmp_path: Path):
    models = tmp_path / "models"
    models.mkdir()
    with exfat(models):
        found = {finding.result: finding.summary for finding in storage.check_models(models)}

    assert found.keys() == {CheckResult.OK, CheckResult.WARNING}
    assert found[CheckResult.WARNING].startswith(f"the file system of {models} has no hard links: a run copies files instead")
