"""The libraries that a stage imports, and the functions that leave others out."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from gregory.ml import imports
from gregory.ml.dataset import Article, Example, write_articles, write_texts
from gregory.ml.stages.contract import ARTICLES, EXAMPLES, REQUEST
from tests.ml.test_stage_process import summarise_request, train_request
from tests.tiny_bundle import tiny_bundle
from tools.installation import REPOSITORY

# A stage, and then the names of all imported modules in the file of the first argument.
STAGE = """
import json, pathlib, sys
from gregory.ml.stages.__main__ import main
code = main(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(json.dumps([name for name in sys.modules if "." not in name]))
sys.exit(code)
"""
NETWORKS = {"tensorflow", "keras", "keras_hub", "transformers", "tokenizers", "ctranslate2"}


def imported(stage: str, request: BaseModel, folder: Path) -> set[str]:
    """The top-level modules of a process that has done this stage on folder/in."""
    (folder / "in" / REQUEST).write_text(request.model_dump_json())
    command = [stage, "--in", str(folder / "in"), "--out", str(folder / "out")]
    done = subprocess.run(
        [sys.executable, "-c", STAGE, str(folder / "names"), *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads((folder / "names").read_text()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


def test_leading_sentences_are_made_without_a_library_of_the_trainings(folder: Path) -> None:
    articles = [Article(article_id=number, title=f"{number}", abstract=f"Words {number}.", label=number % 2) for number in range(40)]
    write_articles(folder / "in" / ARTICLES, articles)

    found = imported("summarise", summarise_request(bundle=tiny_bundle(folder / "bundle")), folder)

    assert not found & {*NETWORKS, "numpy", "scipy", "sklearn", "lightgbm", "matplotlib", "pandas", "rich"}


def test_lightgbm_trains_without_the_libraries_of_the_networks_and_those_that_nothing_uses(folder: Path) -> None:
    write_texts(
        folder / "in" / EXAMPLES, [Example(article_id=n, text=f"word {'ab'[n % 2]} {n}", label=n % 2, title="t") for n in range(60)]
    )

    found = imported("train", train_request(bundle=tiny_bundle(folder / "bundle"), algorithm="lgbm_tfidf"), folder)

    assert {"lightgbm", "sklearn", "matplotlib"} <= found
    assert not found & {*NETWORKS, "pandas", "rich", "django"}


@pytest.mark.parametrize("present", [True, False])
def test_a_hidden_library_cannot_be_imported_until_the_end(monkeypatch: pytest.MonkeyPatch, present: bool) -> None:
    library = "colorsys"
    before = importlib.import_module(library)
    if not present:
        monkeypatch.delitem(sys.modules, library)

    with imports.hidden(library), pytest.raises(ImportError):
        importlib.import_module(library)

    assert sys.modules.get(library) is (before if present else None)
