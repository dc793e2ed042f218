"""A line of quality.jsonl counts as long as its file has the same content, and a command without files writes nothing."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import quality
from benchmarks.quality import Fit, Measured
from benchmarks.registry import BENCHMARKS

ROWS = "title,abstract,relevant\nA,B,1\n"
FIGURES = {"roc_auc": 0.9, "pr_auc": 0.9, "f1@.5": 0.9, "f1@.8": 0.9, "seconds": 1.0}
ADHD = Fit(file="drug_reviews/ADHD", algorithm="lgbm_tfidf", seed=0, pseudo_labels=False)
Command = Callable[..., int]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one labelled file."""
    file = tmp_path / "data" / "drug_reviews" / "ADHD.csv"
    file.parent.mkdir(parents=True)
    file.write_text(ROWS)
    return tmp_path / "data"


@pytest.fixture
def made() -> list[Fit]:
    """The fits that a command has made."""
    return []


@pytest.fixture
def command(data: Path, tmp_path: Path, made: list[Fit], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command with one fit, which needs no time."""

    def evaluated(fit: Fit, *rest: object) -> dict[str, float]:
        made.append(fit)
        return FIGURES

    def execute(*more: str, folder: Path = data) -> int:
        fixed = ("--data", folder, "--algorithms", "lgbm_tfidf", "--seeds", "1", "--results", tmp_path / "quality.jsonl")
        monkeypatch.setattr(sys, "argv", ["quality", *map(str, fixed), *more])
        return quality.main()

    monkeypatch.setattr(quality, "evaluated", evaluated)
    monkeypatch.setattr(quality, "commit", lambda: "0123abc")
    return execute


def test_a_fit_of_the_same_content_is_not_repeated(command: Command, made: list[Fit], capsys: pytest.CaptureFixture[str]):
    assert [command(), command()] == [0, 0]

    assert made == [ADHD]
    row = "| drug_reviews/ADHD | lgbm_tfidf | off | 1 | 0.900 ± 0.000 | 0.900 ± 0.000 | 0.900 ± 0.000 | 0.900 ± 0.000 | 0.960 | 0123abc |"
    assert capsys.readouterr().out.count(row) == 2


def test_a_fit_of_another_content_is_repeated(command: Command, data: Path, made: list[Fit]):
    command()
    (data / "drug_reviews/ADHD.csv").write_text(ROWS + "C,D,0\n")

    command()

    assert made == [ADHD, ADHD]


def test_a_line_without_content_does_not_count(command: Command, tmp_path: Path, made: list[Fit]):
    old = {"fit": {"file": ADHD.file, "algorithm": ADHD.algorithm, "seed": 0, "pseudo_labels": False}, "figures": FIGURES}
    (tmp_path / "quality.jsonl").write_text(json.dumps(old) + "\n")

    command()

    assert made == [ADHD]


def test_the_option_again_repeats_a_fit_and_its_last_line_counts(
    command: Command, tmp_path: Path, made: list[Fit], monkeypatch: pytest.MonkeyPatch
):
    command()
    monkeypatch.setattr(quality, "commit", lambda: "4567def")

    command("--again")

    assert made == [ADHD, ADHD]
    assert quality.known(tmp_path / "quality.jsonl")[ADHD].commit == "4567def"


def test_make_bench_repeats_all_fits():
    assert "--again" in next(benchmark.quick or () for benchmark in BENCHMARKS if benchmark.module == "quality")


def test_a_file_of_an_earlier_folder_is_not_shown(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command()
    (other := tmp_path / "other").mkdir()
    (other / "else.csv").write_text(ROWS)
    capsys.readouterr()

    command(folder=other)

    assert "ADHD" not in capsys.readouterr().out


def test_the_pool_belongs_to_the_content_of_a_fit_with_pseudo_labels(data: Path):
    with_labels, pool = replace(ADHD, pseudo_labels=True), data / "drug_reviews/ADHD_pool.csv"
    pool.write_text("title,abstract\nC,D\n")
    before = [quality.content_of(fit, data) for fit in (ADHD, with_labels)]

    pool.write_text("title,abstract\nE,F\n")

    after = [quality.content_of(fit, data) for fit in (ADHD, with_labels)]
    assert [len(content) for content in after] == [12, 25]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_labelled_files_is_refused(name: str, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    folder = tmp_path / name

    code = command(folder=folder)

    told = f"--data {folder}: there is no labelled file * (.csv). Name a folder that has it.\n"
    assert (code, *capsys.readouterr()) == (2, "", told)
    assert not (tmp_path / "quality.jsonl").exists()


def test_an_interrupted_line_of_quality_is_measured_again(tmp_path: Path):
    file = tmp_path / "quality.jsonl"
    measured = Measured(figures={"roc_auc": 0.9}, content="0123456789ab", commit="0123abc")
    done = Fit(file="a", algorithm="lgbm_tfidf", seed=0, pseudo_labels=False)
    quality.add(file, done, measured)
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"fit": {}, "figures": {}})[:9])

    assert quality.known(file) == {done: measured}
    other = replace(done, seed=1)
    quality.add(file, other, measured)
    assert quality.known(file) == {done: measured, other: measured}


def test_the_cheapest_fits_come_first_and_pseudo_labels_need_a_pool(tmp_path: Path):
    (tmp_path / "ours_raw.csv").write_text("id,title,abstract,label\n1,A,B,1\n")
    (tmp_path / "ours_pool.csv").write_text("id,title,abstract,label\n2,C,D,\n")
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "drug.csv").write_text("pmid,title,abstract,relevant\n3,E,F,0\n")
    files = quality.labelled(tmp_path)

    fits = list(quality.planned(files, ["pubmed_bert", "lgbm_tfidf"], 1, [True, False], tmp_path))

    assert files == ["ours_raw", "reviews/drug"]
    assert [(fit.file, fit.algorithm, fit.pseudo_labels) for fit in fits] == [
        ("ours_raw", "lgbm_tfidf", False),
        ("reviews/drug", "lgbm_tfidf", False),
        ("ours_raw", "pubmed_bert", False),
        ("reviews/drug", "pubmed_bert", False),
        ("ours_raw", "lgbm_tfidf", True),
        ("ours_raw", "pubmed_bert", True),
    ]
