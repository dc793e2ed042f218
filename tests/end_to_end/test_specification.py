"""Requirements of the specification: stages by hand, dry runs, equal results of equal requests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gregory.ml import artifacts
from gregory.ml.config import LgbmConfig
from gregory.ml.dataset import Article, write_articles
from tools.installation import REPOSITORY, Installation


def test_a_dry_run_writes_nothing_at_all(demo_installation: Installation):
    before = sorted(path for path in demo_installation.folder.rglob("*") if "sqlite3-" not in path.name)

    plan = json.loads(demo_installation.must("train_models", "--all-teams", "--dry-run", "--output", "json"))

    assert [(row["subject"], row["algorithm"]) for row in plan] == [
        (subject, algorithm)
        for subject in ("migraine-prevention", "multiple-sclerosis-remyelination", "vaccine-uptake")
        for algorithm in ("pubmed_bert", "lgbm_tfidf", "lstm")
    ]
    assert sorted(path for path in demo_installation.folder.rglob("*") if "sqlite3-" not in path.name) == before
    assert demo_installation.rows() == []


def run_stage(stage: str, folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "gregory.ml.stages", stage, "--in", str(folder / "in"), "--out", str(folder / "out")]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, env={"PATH": "", "PYTHONPATH": str(REPOSITORY)})


def test_a_stage_works_by_hand_without_django_or_a_database(small_bundle: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "request.json").write_text(json.dumps({"bundle": str(small_bundle), "config": {}, "threads": 1}))
    articles = [Article(article_id=number, title=f"T{number}", abstract="One. Two.", label=number % 2) for number in range(1, 13)]
    write_articles(tmp_path / "in" / "articles.jsonl", articles)

    done = run_stage("summarise", tmp_path)

    assert done.returncode == 0, done.stderr
    first, *others = (tmp_path / "out" / "examples.jsonl").read_text().splitlines()
    assert (json.loads(first), len(others)) == ({"article_id": 1, "text": "T1 One. Two.", "label": 1, "title": "T1"}, 11)
    assert all(json.loads(line)["message"] for line in done.stdout.splitlines())


def test_a_failed_stage_leaves_its_reason_and_no_result(small_bundle: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "request.json").write_text(json.dumps({"bundle": str(tmp_path / "none"), "config": {}, "threads": 1}))
    write_articles(tmp_path / "in" / "articles.jsonl", [])

    done = run_stage("summarise", tmp_path)

    assert done.returncode == 1
    assert not (tmp_path / "out").exists()
    error = json.loads((tmp_path / "out.partial" / "error.json").read_text())
    assert error["kind"] == "base_models"
    assert error["traceback"].startswith("Traceback (most recent call last)")


@pytest.mark.slow
def test_the_same_request_twice_gives_the_same_metrics_and_bytes_and_overrides_reach_the_manifest(demo_installation: Installation):
    demo_installation.set_hyperparameters("lgbm: {rounds: 20}\nlstm: {epochs: 2}\n")

    for _ in range(2):
        demo_installation.must("train_models", "--team", "public-health", "--algo", "lgbm_tfidf,lstm,pubmed_bert")

    rows = demo_installation.rows()
    for algorithm in ("lgbm_tfidf", "lstm", "pubmed_bert"):
        first, second = (row for row in rows if row["algorithm"] == algorithm)
        assert first["metrics"] == pytest.approx(second["metrics"], abs=1e-6)
    lgbm = [demo_installation.models / row["artifact"] for row in rows if row["algorithm"] == "lgbm_tfidf"]
    assert (lgbm[0] / "lgbm_classifier.joblib").read_bytes() == (lgbm[1] / "lgbm_classifier.joblib").read_bytes()
    assert artifacts.read_manifest(lgbm[0]).config.hyperparameters.lgbm == LgbmConfig(rounds=20)
