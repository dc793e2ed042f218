"""The whole path on a real feed: command line, processes, artifacts, rows. Trains from the tiny bundle."""

import json

from gregory.ml import artifacts
from gregory.ml.config import ALGORITHMS
from gregory.ml.load import load_model
from gregory.ml.metrics import NAMES
from tools.installation import Installation

SPEC_FILES = {
    "pubmed_bert": {"bert_weights.h5", "metrics.json"},
    "lgbm_tfidf": {"lgbm_classifier.joblib", "tfidf_vectorizer.joblib", "metrics.json"},
    "lstm": {"lstm_weights.h5", "tokenizer.json", "metrics.json"},
}
SUBJECT = ("--team", "neurology", "--subject", "migraine-prevention")


def versions(installation: Installation) -> dict[str, list[str]]:
    return {
        folder.name: sorted(path.name for path in folder.iterdir()) for folder in installation.models.glob("[!.]*/*/*") if folder.is_dir()
    }


def test_one_subject_trains_three_models_and_the_next_run_of_the_day_takes_the_next_suffix(demo_site: Installation):
    first = demo_site.manage("train_models", *SUBJECT, "--verbose", "3")

    assert first.returncode == 0, first.stdout + first.stderr
    rows = demo_site.rows()
    assert [row["algorithm"] for row in rows] == list(ALGORITHMS)
    assert all(row["success"] is True and row["finished"] and row["error"] is None for row in rows)
    assert {row["state"] for row in rows} == {"succeeded"}
    for row in rows:
        folder = demo_site.models / row["artifact"]
        assert folder == demo_site.models / "neurology" / "migraine-prevention" / row["algorithm"] / row["version"]
        assert {path.name for path in folder.iterdir()} >= SPEC_FILES[row["algorithm"]] | {
            "manifest.json",
            "evaluation.json",
            "report.html",
        }
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics.keys() == {*(f"{part}_{name}" for part in ("val", "test") for name in NAMES), "prob_threshold"}
        assert metrics == row["metrics"]
        manifest = artifacts.read_manifest(folder)
        assert (manifest.provenance.run_log_id, manifest.provenance.run_id) == (row["id"], row["run_id"])
        assert row["resources"]["stages"]["train"]["peak_bytes"] > 0
        assert row["resources"]["stages"]["summarise"]["seconds"] > 0
    assert not list((demo_site.models / ".runs").iterdir())

    second = demo_site.manage("train_models", *SUBJECT, "--algo", "lgbm_tfidf")

    assert second.returncode == 0, second.stderr
    day = rows[0]["version"]
    assert versions(demo_site)["lgbm_tfidf"] == [day, f"{day}_2"]
    same = [
        (demo_site.models / row["artifact"] / "lgbm_classifier.joblib").read_bytes()
        for row in demo_site.rows()
        if row["algorithm"] == "lgbm_tfidf"
    ]
    assert same[0] == same[1]
    assert "4 version folders" in demo_site.must("verify_models")


def test_the_same_path_on_postgresql(postgresql_installation: Installation):
    installation = postgresql_installation
    installation.must("load_demo")

    done = installation.manage("train_models", *SUBJECT, "--algo", "lstm,lgbm_tfidf", "--verbose", "3")

    assert done.returncode == 0, done.stdout + done.stderr
    rows = installation.rows()
    assert [(row["algorithm"], row["success"]) for row in rows] == [("lstm", True), ("lgbm_tfidf", True)]
    model = load_model(installation.models / rows[0]["artifact"])
    assert model.predict_proba(["migraine"]).shape == (1,)


def test_pseudo_labels_join_the_training_part_and_leave_their_file(demo_site: Installation):
    # A tiny model is sure of nothing: a low bar makes it accept something.
    demo_site.set_hyperparameters("pseudo_label: {confidence_threshold: 0.5, max_iterations: 2}\nbert: {epochs: 1}\n")

    done = demo_site.manage("train_models", *SUBJECT, "--algo", "lgbm_tfidf", "--pseudo-label")

    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = demo_site.rows()
    manifest = artifacts.read_manifest(demo_site.models / row["artifact"])
    (csv_file,) = (demo_site.models / "neurology" / "migraine-prevention" / "pseudo_labels").glob("*.csv")
    accepted = csv_file.read_text().splitlines()
    assert accepted[0] == "article_id,text,label,confidence,round"
    assert manifest.data.pseudo_labelled == len(accepted) - 1 > 0
    assert manifest.config.hyperparameters.pseudo_label.confidence_threshold == 0.5
