"""The choice of a threshold: its forms, its errors, and its value for a model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gregory.ml.errors import ConfigError
from gregory.ml.evaluation import Evaluation
from gregory.ml.evaluator import Scored, evaluate
from gregory.ml.thresholds import Choice, parse, threshold

REPOSITORY = Path(__file__).parents[2]
FORMS = "write a number between 0 and 1 (0.8), best-f1, or recall=0.95"


def scored(relevant: list[float], not_relevant: list[float]) -> Scored:
    labels = np.array([1] * len(relevant) + [0] * len(not_relevant), dtype=np.int8)
    return labels, np.array(relevant + not_relevant)


PART = scored([number / 20 for number in range(1, 21)], [0.01, 0.02, 0.93])
EVALUATION = evaluate(validation=PART, test=PART, threshold=0.8, history=[])
OLDER = Evaluation.model_validate(
    {name: value for name, value in EVALUATION.model_dump().items() if name not in ("operating_points", "ranking", "baseline")}
    | {
        "validation": {
            **EVALUATION.validation.model_dump(),
            "pr": {"recall": (1.0, 0.0), "precision": (0.5, 1.0)},
            "roc": {"fpr": (0.0, 1.0), "tpr": (0.0, 1.0)},
        }
    }
)


@pytest.mark.parametrize(
    ("written", "choice"),
    [
        ("0.8", Choice(number=0.8)),
        (".5", Choice(number=0.5)),
        ("1e-3", Choice(number=0.001)),
        ("best-f1", Choice()),
        ("recall=0.95", Choice(recall=0.95)),
        ("recall=1", Choice(recall=1)),
    ],
)
def test_valid_choices(written: str, choice: Choice):
    assert parse(written) == choice


@pytest.mark.parametrize("written", ["", "best", "f1", "recall", "recall=", "recall=95%", "recall 0.95", "0,8"])
def test_another_word_is_an_error(written: str):
    with pytest.raises(ConfigError) as error:
        parse(written)

    assert str(error.value) == f"threshold {written!r} is not valid; {FORMS}"


@pytest.mark.parametrize("written", ["0", "1", "-0.1", "80", "nan", "inf", "recall=0", "recall=95", "recall=nan"])
def test_a_number_out_of_range_is_an_error(written: str):
    with pytest.raises(ConfigError) as error:
        parse(written)

    assert str(error.value) == f"threshold {written!r} is out of range; {FORMS}"


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        (None, 0.8),
        ("0.33", 0.33),
        ("best-f1", 0.05),
        ("recall=0.9", 0.15),
        ("recall=.950", 0.1),
        ("recall=0.99", 0.05),
        # No operating point has this recall, the curve has it.
        ("recall=0.5", 0.55),
        ("recall=0.51", 0.5),
        ("recall=1", 0.05),
    ],
)
def test_the_threshold_of_a_choice(choice: str | None, value: float):
    assert threshold(EVALUATION, choice) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("choice", ["best-f1", "recall=0.95", "recall=0.8"])
def test_a_model_of_an_older_release_has_only_numbers(choice: str):
    assert (threshold(OLDER), threshold(OLDER, "0.4")) == (0.8, 0.4)
    with pytest.raises(ConfigError) as error:
        threshold(OLDER, choice)

    assert str(error.value) == (
        f"threshold {choice!r}: an older release trained this model and kept no thresholds; write a number, or train the subject again"
    )


def test_the_module_needs_no_numpy():
    program = "import sys; import gregory.ml.thresholds, gregory.ml.predictions; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert result.stdout == "False\n"
