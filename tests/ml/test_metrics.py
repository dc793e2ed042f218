"""The six figures of one part and the flat twelve of metrics.json."""

import numpy as np
import pytest

from gregory.ml.metrics import NAMES, flat, measure

LABELS = np.array([1, 1, 0, 0, 1, 0], dtype=np.int8)
PROBABILITIES = np.array([0.9, 0.4, 0.8, 0.1, 0.8, 0.2])


def test_figures_of_a_hand_made_part() -> None:
    # At 0.8: 2 of 3 relevant found, 1 of 3 others found. Pairs in the right order: 7 of 9, equal pairs: 1.
    assert measure(LABELS, PROBABILITIES, 0.8) == pytest.approx(
        {"accuracy": 4 / 6, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "roc_auc": 7.5 / 9, "pr_auc": (1 + 2 / 3 + 3 / 4) / 3}
    )


def test_names_are_those_of_the_specification() -> None:
    assert tuple(measure(LABELS, PROBABILITIES, 0.5)) == NAMES == ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc")


def test_probability_equal_to_the_threshold_is_relevant() -> None:
    labels = np.array([1, 0], dtype=np.int8)
    assert measure(labels, np.array([0.8, 0.2]), 0.8)["recall"] == 1.0


def test_probability_just_below_the_threshold_is_not_relevant() -> None:
    labels = np.array([1, 0], dtype=np.int8)
    assert measure(labels, np.array([np.nextafter(0.8, 0), 0.2]), 0.8)["recall"] == 0.0


def test_the_threshold_does_not_change_the_areas() -> None:
    low, high = measure(LABELS, PROBABILITIES, 0.3), measure(LABELS, PROBABILITIES, 0.95)
    assert (low["roc_auc"], low["pr_auc"]) == (high["roc_auc"], high["pr_auc"])


@pytest.mark.filterwarnings("error")
def test_figures_of_the_relevant_class_are_zero_without_predictions() -> None:
    figures = measure(LABELS, PROBABILITIES, 0.95)
    assert (figures["precision"], figures["recall"], figures["f1"], figures["accuracy"]) == (0.0, 0.0, 0.0, 0.5)


@pytest.mark.parametrize("label", [0, 1])
def test_single_class_is_an_error(label: int) -> None:
    with pytest.raises(ValueError, match=r"^metrics need both classes; the part has one$"):
        measure(np.full(3, label, dtype=np.int8), np.array([0.1, 0.5, 0.9]), 0.8)


def test_nan_probabilities_are_counted_in_the_error() -> None:
    with pytest.raises(ValueError, match=r"probabilities must lie in \[0, 1\].*\b2 of 3 are NaN$"):
        measure(np.array([0, 1, 1], dtype=np.int8), np.array([np.nan, 0.5, np.nan]), 0.8)


@pytest.mark.parametrize("probability", [-0.01, 1.01, np.inf])
def test_probability_outside_its_range_is_an_error(probability: float) -> None:
    with pytest.raises(ValueError, match=r"^probabilities must lie in \[0, 1\]"):
        measure(np.array([0, 1], dtype=np.int8), np.array([probability, 0.5]), 0.8)


def test_flat_has_twelve_figures_and_the_threshold() -> None:
    validation, test = measure(LABELS, PROBABILITIES, 0.8), measure(LABELS, 1 - PROBABILITIES, 0.8)
    metrics = flat(validation, test, 0.8)
    assert set(metrics) == {f"{part}_{name}" for part in ("val", "test") for name in NAMES} | {"prob_threshold"}
    assert (metrics["val_roc_auc"], metrics["test_roc_auc"], metrics["prob_threshold"]) == (
        validation["roc_auc"],
        test["roc_auc"],
        0.8,
    )
