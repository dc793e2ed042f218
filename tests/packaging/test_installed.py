"""The wheel in an empty environment, outside the checkout. The index of Python packages must be reachable."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gregory.ml.config import Hyperparameters, LgbmConfig, TrainConfig
from gregory.ml.manifest import Provenance
from gregory.ml.stages.contract import EXAMPLES, MODEL_FOLDER, REQUEST, TrainRequest
from tests.docs.markdown import blocks
from tools.installation import REPOSITORY

pytestmark = pytest.mark.packages

ABSENT = ("tensorflow", "keras", "transformers", "django", "kubernetes", "docker", "psycopg", "pandas", "torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path) -> Path:
    """A folder with the model that the README loads, trained on 120 texts."""
    folder = tmp_path_factory.mktemp("elsewhere")
    source, target = folder / "stage/in", folder / "stage/out"
    source.mkdir(parents=True)
    provenance = Provenance(
        team="neurology",
        subject="migraine-prevention",
        version="20260101",
        run_id="run",
        attempt=1,
        run_log_id=1,
        cutoff=None,
        window="all articles",
        image_digest="",
    )
    request = TrainRequest(
        algorithm="lgbm_tfidf",
        bundle=small_bundle,
        threads=1,
        config=TrainConfig(hyperparameters=Hyperparameters(lgbm=LgbmConfig(rounds=20))),
        provenance=provenance,
        title_only=0,
    )
    (source / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
    topics = ("a trial of erenumab for the prevention of migraine", "a survey of the prices of parking in hospitals")
    examples = [{"article_id": number, "text": f"{topics[number % 2]}, part {number}", "label": 1 - number % 2} for number in range(120)]
    (source / EXAMPLES).write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")
    stage = [sys.executable, "-m", "gregory.ml.stages", "train", "--in", str(source), "--out", str(target)]
    subprocess.run(stage, cwd=REPOSITORY, check=True, capture_output=True)

    version = folder / "models/neurology/migraine-prevention/lgbm_tfidf/20260101"
    version.parent.mkdir(parents=True)
    (target / MODEL_FOLDER).rename(version)
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The interpreter of an environment that holds the wheel with its extra `score-lgbm`."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[score-lgbm]"]
    subprocess.run(install, check=True)
    return python


def output(argv: list[str | Path], folder: Path, *, given: str = "", **environment: str) -> str:
    done = subprocess.run(argv, cwd=folder, env=environment, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_s_block_prints_the_same_probability_as_in_the_checkout(python: Path, folder: Path):
    (block,) = (block for block in blocks("README.md") if block.section == "Use a model" and block.language == "python")

    printed = output([python, "-c", block.text], folder)

    assert printed == output([sys.executable, "-c", block.text], folder, PYTHONPATH=str(REPOSITORY))
    answers = [line.partition(":")[0].split(" ", 1) for line in printed.splitlines()]
    (first, _), (second, _) = answers
    assert float(first) > 0.5 > float(second)
    assert [answer for _, answer in answers] == ["relevant" if float(one) >= 0.8 else "not relevant" for one, _ in answers]


def test_the_environment_holds_neither_tensorflow_nor_django(python: Path, folder: Path):
    program = "import gregory, importlib.util, sys; print(gregory.__path__[0], *(n for n in sys.argv[1:] if importlib.util.find_spec(n)))"

    place, *found = output([python, "-c", program, *ABSENT], folder).split()

    assert Path(place).is_relative_to(python.parents[1])
    assert found == []


def test_texts_of_standard_input_are_scored_as_in_the_checkout(python: Path, folder: Path):
    command = ["-m", "gregory.score", "models/neurology/migraine-prevention/lgbm_tfidf/20260101"]
    texts = (
        "id,title,summary\na,A trial of erenumab,Drugs. 2021 Jun 4. ABSTRACT Prevention of migraine\nb,A survey of the prices of parking,\n"
    )

    scored = output([python, *command], folder, given=texts)

    assert scored == output([sys.executable, *command], folder, given=texts, PYTHONPATH=str(REPOSITORY))
    header, first, second = (line.split(",") for line in scored.splitlines())
    assert (header, first[0], second[0]) == (["id", "probability", "relevant"], "a", "b")
    assert float(first[1]) > 0.5 > float(second[1])
