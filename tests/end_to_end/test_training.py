"""Trainings of the demo feed from the command line to rows and version folders."""

import json
import shutil
from pathlib import Path

import pytest

from gregory.ml import artifacts
from gregory.ml.config import ALGORITHMS
from gregory.ml.load import load_model
from gregory.ml.metrics import NAMES
from tools.installation import Installation

SPEC_FILES = {
    "pubmed_bert": {"bert_weights.h5", "metrics.json"},
    "lgbm_tfidf": {"lgbm_classifier.joblib", "tfidf_vectorizer.joblib", "metrics.json", "lgbm_classifier.txt", "tfidf_vectorizer.json"},
    "lstm": {"lstm_weights.h5", "tokenizer.json", "metrics.json"},
}
SUBJECT = ("--team", "neurology", "--subject", "migraine-prevention")


def versions(installation: Installation) -> dict[str, list[str]]:
    return {
        folder.name: sorted(path.name for path in folder.iterdir()) for folder in installation.models.glob("[!.]*/*/*") if folder.is_dir()
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path, demo_database: Path) -> Installation:
    """An installation that has trained one subject with all algorithms, within 300 s."""
    installation = Installation(tmp_path_factory.mktemp("trained") / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle)})
    shutil.copy(demo_database, installation.environment["SQLITE_FILE"])
    installation.set_hyperparameters("bert: {epochs: 2}\nlstm: {epochs: 2}\n")
    installation.must("train_models", *SUBJECT, "--verbose", "3")
    return installation


def test_one_subject_trains_three_models(trained: Installation):
    rows = trained.rows()[:3]
    assert [row["algorithm"] for row in rows] == list(ALGORITHMS)
    assert all(row["success"] is True and row["finished"] and row["error"] is None for row in rows)
    assert {row["state"] for row in rows} == {"succeeded"}
    for row in rows:
        folder = trained.models / row["artifact"]
        assert folder == trained.models / "neurology" / "migraine-prevention" / row["algorithm"] / row["version"]
        assert {path.name for path in folder.iterdir()} >= SPEC_FILES[row["algorithm"]] | {
            "manifest.json",
            "evaluation.json",
            "report.html",
            "predictions.csv",
        }
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics.keys() == {*(f"{part}_{name}" for part in ("val", "test") for name in NAMES), "prob_threshold"}
        assert metrics == row["metrics"]
        manifest = artifacts.read_manifest(folder)
        assert (manifest.provenance.run_log_id, manifest.provenance.run_id) == (row["id"], row["run_id"])
        assert manifest.config.hyperparameters.lstm.epochs == 2
        assert row["resources"]["stages"]["train"]["peak_bytes"] > 0
        assert row["resources"]["stages"]["summarise"]["seconds"] > 0
    assert not list(trained.models.glob("[!.]*/[!.]*/.runs/[!.]*"))


def test_the_row_and_the_model_card_contain_the_device(trained: Installation):
    bert, lgbm, lstm = trained.rows()[:3]
    assert bert["compute"] == {"device": "CPU", "precision": "float32", "micro_batch": 16}
    assert lgbm["compute"] == {"device": "CPU"}
    assert bert["data"]["parts"]["train"]["relevant"] > 0
    assert bert["data"] == lgbm["data"] == lstm["data"]
    assert "micro batch" in (trained.models / bert["artifact"] / "report.html").read_text(encoding="utf-8")


def test_the_next_run_of_the_day_has_the_next_suffix_and_the_same_bytes(trained: Installation):
    trained.must("train_models", *SUBJECT, "--algo", "lgbm_tfidf")

    first, second = (row for row in trained.rows() if row["algorithm"] == "lgbm_tfidf")
    assert second["version"] == f"{first['version']}_2"
    assert versions(trained)["lgbm_tfidf"] == [first["version"], second["version"]]
    one, other = ((trained.models / row["artifact"] / "lgbm_classifier.joblib").read_bytes() for row in (first, second))
    assert one == other
    assert "4 version folders" in trained.must("verify_models")


@pytest.mark.slow
def test_the_real_small_bert_trains(demo_installation: Installation, demo_bundle: Path):
    demo_installation.environment["GREGORY_BASE_MODELS"] = str(demo_bundle)
    demo_installation.set_hyperparameters("bert: {epochs: 1, max_length: 24, freeze_weights: true}\n")

    trained = demo_installation.manage("train_models", "--team", "public-health", "--algo", "pubmed_bert", "--verbose", "2")

    (row,) = demo_installation.rows()
    assert (row["success"], row["state"]) == (True, "succeeded")
    encoder = json.loads((demo_bundle / "bundle.json").read_text(encoding="utf-8"))["encoder"]
    folder = demo_installation.models / row["artifact"]
    assert artifacts.read_manifest(folder).base_models["encoder"]["source"] == encoder["source"]
    # In the row, in the log and in the model card.
    demo = f"the encoder is {encoder['source']} and not BiomedBERT"
    assert demo in row["warnings"][0]
    assert demo in trained.stdout
    assert demo in (folder / "report.html").read_text(encoding="utf-8")
    assert demo in demo_installation.must("training_runs", "show", row["run_id"])
    assert load_model(folder).predict_proba(["a vaccine", "a railway"]).shape == (2,)


@pytest.mark.slow
def test_training_on_postgresql(postgresql_installation: Installation):
    installation = postgresql_installation
    installation.must("load_demo")

    installation.must("train_models", *SUBJECT, "--algo", "lgbm_tfidf", "--verbose", "3")

    (row,) = installation.rows()
    assert (row["algorithm"], row["success"]) == ("lgbm_tfidf", True)
    assert load_model(installation.models / row["artifact"]).predict_proba(["migraine"]).shape == (1,)


@pytest.mark.slow
def test_pseudo_labels_join_the_training_part_and_leave_their_file(demo_installation: Installation):
    # The probabilities of a tiny model are near 0.5. A low threshold accepts some.
    demo_installation.set_hyperparameters("pseudo_label: {confidence_threshold: 0.5, max_iterations: 2}\nbert: {epochs: 1}\n")

    done = demo_installation.manage("train_models", *SUBJECT, "--algo", "lgbm_tfidf", "--pseudo-label")

    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = demo_installation.rows()
    manifest = artifacts.read_manifest(demo_installation.models / row["artifact"])
    (csv_file,) = (demo_installation.models / "neurology" / "migraine-prevention" / "pseudo_labels").glob("*.csv")
    accepted = csv_file.read_text().splitlines()
    assert accepted[0] == "article_id,text,label,confidence,round"
    assert manifest.data.pseudo_labelled == len(accepted) - 1 > 0
    assert manifest.config.hyperparameters.pseudo_label.confidence_threshold == 0.5
