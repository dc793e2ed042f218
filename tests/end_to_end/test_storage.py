"""Whole trainings on real file systems: one without links, and one that becomes read-only before a model is published."""

import csv
from pathlib import Path

import pytest

from gregory.ml import artifacts
from tests.end_to_end.trainings import OPEN_RUN, SUBJECT, WAITS, started, wait_for
from tests.file_systems import exfat, ext4, remount
from tools.installation import Installation

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_a_training_with_pseudo_labels_on_a_file_system_without_links(demo_installation: Installation):
    demo_installation.set_hyperparameters("bert: {epochs: 1}\npseudo_label: {confidence_threshold: 0.5, max_iterations: 1}\n")
    with exfat(demo_installation.models):
        told = demo_installation.must("preflight", "--only", "models")
        demo_installation.must("train_models", *SUBJECT, "--all-articles", "--algo", "lgbm_tfidf", "--pseudo-label")
        verified = demo_installation.must("verify_models")
        (row,) = demo_installation.rows()
        manifest = artifacts.read_manifest(demo_installation.models / row["artifact"])
        assert manifest.data.pseudo_labels is not None
        with (demo_installation.models / manifest.data.pseudo_labels.file).open(encoding="utf-8", newline="") as file:
            labels = len(list(csv.DictReader(file)))
        left = [path.name for path in demo_installation.models.rglob(".*")]

    assert f"the file system of {demo_installation.models} has no hard links" in told
    assert (row["success"], row["state"]) == (True, "succeeded")
    assert labels == manifest.data.pseudo_labelled
    assert "1 version folder, all complete and unchanged" in verified
    assert left == [".runs"]


def test_a_model_on_a_file_system_that_became_read_only_is_published_by_the_resume(demo_installation: Installation, tmp_path: Path):
    models = demo_installation.models
    demo_installation.environment["TEST_SIGNS"] = str(tmp_path)
    with ext4(models, mebibytes=64):
        with started(demo_installation, OPEN_RUN, "-c", WAITS) as job:
            wait_for((tmp_path / "reached").exists)
            remount(models, "ro")
            (tmp_path / "go").touch()
            output = job.communicate(timeout=600)[0]
        (failed,) = demo_installation.rows()
        remount(models, "rw")
        before = [path for path in models.rglob("*") if path.name == "manifest.json"]

        resumed = demo_installation.must("train_models", "--resume", failed["run_id"])
        verified = demo_installation.must("verify_models")

    assert job.returncode == 1, output
    assert (failed["success"], failed["reason"], failed["run_reason"], failed["state"]) == (False, "storage", "storage", "failed")
    folder = models / "neurology" / "migraine-prevention"
    cause = f"the folder {folder} cannot take a model: Read-only file system; mount it read-write"
    assert failed["error"].startswith(f"{cause}, then: python manage.py train_models --resume {failed['run_id']}; it publishes the trained")
    (kept,) = before
    assert kept.relative_to(models).parts[3:] == (failed["run_id"], "stages", "train-lgbm_tfidf", "out", "model", "manifest.json")
    assert "train-lgbm_tfidf: done by an earlier attempt" in resumed
    first, second = demo_installation.rows()
    assert (first["error"], second["success"], second["state"]) == (failed["error"], True, "succeeded")
    assert "1 version folder, all complete and unchanged" in verified
