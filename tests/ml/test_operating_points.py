"""Operating points and the ranking: exact figures of small parts, ties, intervals, and parts with few relevant articles."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from gregory.ml.evaluation import Figure, OperatingPoint
from gregory.ml.evaluator import Scored
from gregory.ml.operating_points import operating_points, rank
from gregory.ml.ranking import Groups, groups, merged, order_of, pr_auc, roc_auc, rounded_down


def part(relevant: list[float], not_relevant: list[float]) -> Groups:
    labels = np.array([1] * len(relevant) + [0] * len(not_relevant), dtype=np.int8)
    return groups(labels, np.array(relevant + not_relevant))


def random_part(n: int, *, relevant: float = 0.2, seed: int = 0) -> Scored:
    random = np.random.default_rng(seed)
    labels = (random.random(n) < relevant).astype(np.int8)
    # Two digits give many ties.
    return labels, np.clip(random.normal(0.35 + 0.2 * labels, 0.15), 0, 1).round(2)


def point(choice: str, validation: Groups, test: Groups, *, threshold: float = 0.8) -> OperatingPoint:
    (found,) = [one for one in operating_points(validation, test, threshold=threshold) if one.choice == choice]
    return found


def values(one: OperatingPoint) -> dict[str, float]:
    return {name: getattr(one, name).value for name in ("threshold", "selected", "found", "precision", "recall", "work_saved")}


def test_the_order_of_the_points():
    points = operating_points(part([0.9], [0.1]), part([0.9], [0.1]), threshold=0.8)

    assert [one.choice for one in points] == ["0.8", "0.5", "best-f1", "recall=0.9", "recall=0.95", "recall=0.99"]


def test_a_threshold_of_one_half_is_one_point():
    points = operating_points(part([0.9], [0.1]), part([0.9], [0.1]), threshold=0.5)

    assert [one.choice for one in points] == ["0.5", "best-f1", "recall=0.9", "recall=0.95", "recall=0.99"]


def test_the_figures_are_those_of_the_test_part():
    validation, test = part([0.9, 0.6], [0.7, 0.1]), part([0.95, 0.7, 0.3, 0.2], [0.8, 0.6, 0.1, 0.1, 0.1, 0.1])

    assert values(point("best-f1", validation, test)) == {
        "threshold": 0.6,
        "selected": 4,
        "found": 2,
        "precision": 0.5,
        "recall": 0.5,
        "work_saved": pytest.approx(0.6 - 0.5),
    }


def test_the_threshold_of_a_recall_is_the_highest_that_reaches_it():
    relevant = [number / 100 for number in range(81, 101)]
    validation = part(relevant, [0.5])

    assert point("recall=0.9", validation, validation).threshold.value == 0.83
    assert point("recall=0.95", validation, validation).threshold.value == 0.82
    assert point("recall=0.99", validation, validation).threshold.value == 0.81


def test_articles_of_equal_probability_are_selected_together():
    validation = part([0.9, 0.4, 0.4, 0.4], [0.4, 0.4, 0.1])

    assert values(point("recall=0.9", validation, validation)) == {
        "threshold": 0.4,
        "selected": 6,
        "found": 4,
        "precision": pytest.approx(4 / 6),
        "recall": 1,
        "work_saved": pytest.approx(1 / 7),
    }


def test_of_equal_f1_the_threshold_finds_more():
    # One of one article (f1 2 / 4) against three of nine (f1 6 / 12).
    validation = part([0.9, 0.3, 0.3], [0.3] * 6)

    assert point("best-f1", validation, validation).threshold.value == 0.3


def test_a_model_that_gives_one_probability_selects_everything():
    validation = part([0.03123456789] * 3, [0.03123456789] * 7)

    chosen = point("best-f1", validation, validation)

    assert values(chosen) == {
        "threshold": 0.0312345,
        "selected": 10,
        "found": 3,
        "precision": 0.3,
        "recall": 1,
        "work_saved": 0,
    }


def test_no_selected_article_has_precision_zero():
    test = part([0.2] * 5, [0.1] * 5)

    assert (point("0.8", test, test).selected.value, point("0.8", test, test).precision.value) == (0, 0)


@pytest.mark.parametrize("probability", [0.123456789, 0.8, 1.0, 1e-12, 0.1 + 0.2, float(np.float32(0.7654321))])
def test_a_rounded_threshold_selects_the_article_that_gave_it(probability: float):
    assert rounded_down(probability) <= probability
    assert rounded_down(probability) == pytest.approx(probability, rel=1e-5)


def test_all_found_of_few_articles_is_not_certain():
    test = part([0.9] * 13, [0.1] * 115)

    recall = point("0.8", test, test).recall

    assert (recall.value, recall.high) == (1, 1)
    # Jeffreys' interval for 13 of 13 begins at 0.826.
    assert recall.low == pytest.approx(0.826, abs=0.02)


def test_few_relevant_articles_give_a_wide_interval():
    def width(scale: int) -> float:
        test = part([0.9] * 2 * scale + [0.3] * scale, [0.1] * 10 * scale)
        recall = point("0.8", test, test).recall
        return recall.high - recall.low

    assert width(3) > 0.4
    # Of a hundred times more articles the interval is ten times narrower.
    assert width(300) == pytest.approx(width(3) / 10, rel=0.25)


def test_the_interval_of_a_share_covers_the_truth_in_about_95_of_100_samples():
    random, covered = np.random.default_rng(1), 0
    for _ in range(200):
        found = int(random.binomial(12, 0.7))
        test = part([0.9] * found + [0.3] * (12 - found), [0.1] * 20)
        recall = point("0.8", test, test).recall
        covered += recall.low <= 0.7 <= recall.high

    assert 180 <= covered <= 199


def test_the_interval_of_a_chosen_threshold_has_the_choices_of_resamples():
    validation = groups(*random_part(60))

    chosen, constant = point("best-f1", validation, validation).threshold, point("0.8", validation, validation).threshold

    assert chosen.low < chosen.value < chosen.high
    assert constant == Figure(value=0.8, low=0.8, high=0.8)


def test_two_computations_are_equal():
    validation, test = groups(*random_part(50)), groups(*random_part(50, seed=1))

    assert operating_points(validation, test, threshold=0.8) == operating_points(validation, test, threshold=0.8)
    assert rank(test) == rank(test)


def test_the_areas_are_those_of_scikit_learn():
    labels, probabilities = random_part(400)
    part = groups(labels, probabilities)
    order = order_of(part.relevant, part.others)

    assert roc_auc(order) == pytest.approx(roc_auc_score(labels, probabilities))
    assert pr_auc(order) == pytest.approx(average_precision_score(labels, probabilities))


def test_the_articles_to_read_for_95_percent():
    # The 19th of 20 relevant articles has the probability 0.4, as two others have.
    test = part([0.9] * 18 + [0.4, 0.05], [0.5] * 10 + [0.4] * 2 + [0.1] * 68)

    ranking = rank(test)

    assert (ranking.recall, ranking.needed, ranking.read.value) == (0.95, 19, 31)
    assert ranking.work_saved.value == pytest.approx(0.95 - 0.31)


def test_the_figures_of_the_ranking_have_intervals():
    ranking = rank(groups(*random_part(300)))

    for figure in (ranking.roc_auc, ranking.pr_auc, ranking.read, ranking.work_saved):
        assert figure.low < figure.value < figure.high
    # Hanley and McNeil's formula gives about the same width.
    auc, relevant, others = ranking.roc_auc.value, 60, 240
    pairs = (relevant - 1) * (auc / (2 - auc) - auc**2) + (others - 1) * (2 * auc**2 / (1 + auc) - auc**2)
    error = math.sqrt((auc * (1 - auc) + pairs) / (relevant * others))
    assert ranking.roc_auc.high - ranking.roc_auc.low == pytest.approx(2 * 1.96 * error, rel=0.3)


def test_a_perfect_order_of_few_articles_is_not_certain():
    auc = rank(part([0.9] * 7, [0.1] * 11)).roc_auc

    assert (auc.value, auc.high) == (1, 1)
    assert 0.6 < auc.low < 0.9


def test_the_interval_of_the_area_covers_the_truth_in_at_least_90_of_100_samples():
    random, covered = np.random.default_rng(1), 0
    labels = np.array([1] * 12 + [0] * 112, dtype=np.int8)
    for _ in range(100):
        auc = rank(groups(labels, 1 / (1 + np.exp(-random.normal(2.0 * labels, 1.0))))).roc_auc
        # The area of two normal distributions with a distance of two deviations.
        covered += auc.low <= 0.921 <= auc.high

    assert covered >= 90


def test_merged_groups_keep_articles_and_order():
    labels, probabilities = random_part(3_000)
    part = groups(labels, probabilities + np.random.default_rng(2).random(3_000) * 1e-3)

    coarse = merged(part, 200)

    assert len(part.probabilities) > 2_000
    assert len(coarse.probabilities) == 200
    assert (coarse.relevant.sum(), coarse.others.sum()) == (part.relevant.sum(), part.others.sum())
    assert coarse.probabilities[-1] == part.probabilities[-1]
    assert roc_auc(order_of(coarse.relevant, coarse.others)) == pytest.approx(roc_auc(order_of(part.relevant, part.others)), abs=1e-3)
