"""evaluation.json: exact figures of small parts, the size limit of the file, and the exact warnings."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from gregory.ml.evaluation import Confusion, Evaluation, PartEvaluation
from gregory.ml.evaluator import Scored, evaluate

REPOSITORY = Path(__file__).parents[2]
HISTORY = [{"loss": 0.7, "val_loss": 0.6}, {"loss": 0.4, "val_loss": 0.5}]


def scored(relevant: list[float], not_relevant: list[float]) -> Scored:
    labels = np.array([1] * len(relevant) + [0] * len(not_relevant), dtype=np.int8)
    return labels, np.array(relevant + not_relevant)


SMALL = scored([0.9, 0.8, 0.4], [0.8, 0.1, 0.2])


def part(data: Scored = SMALL, *, threshold: float = 0.8) -> PartEvaluation:
    return evaluate(validation=SMALL, test=data, threshold=threshold, history=[]).test


def warnings(relevant: list[float], not_relevant: list[float], *, threshold: float = 0.8) -> tuple[str, ...]:
    return evaluate(validation=SMALL, test=scored(relevant, not_relevant), threshold=threshold, history=[]).warnings


def random_part(n: int, *, relevant: float = 0.3) -> Scored:
    random = np.random.default_rng(0)
    labels = (random.random(n) < relevant).astype(np.int8)
    return labels, np.clip(random.normal(0.35 + 0.2 * labels, 0.2), 0, 1)


def test_counts_and_confusion_at_the_threshold() -> None:
    test = part()
    assert (test.n, test.relevant, test.not_relevant) == (6, 3, 3)
    assert test.confusion == Confusion(tp=2, fp=1, fn=1, tn=2)


def test_a_probability_equal_to_the_threshold_counts_as_relevant() -> None:
    assert part(scored([0.8], [0.8]), threshold=0.8).confusion == Confusion(tp=1, fp=1, fn=0, tn=0)


def test_six_metrics_are_exact() -> None:
    assert part().metrics == {
        "accuracy": 4 / 6,
        "precision": 2 / 3,
        "recall": 2 / 3,
        "f1": pytest.approx(2 / 3),
        "roc_auc": pytest.approx(7.5 / 9),
        "pr_auc": pytest.approx((1 + 2 / 3 + 3 / 4) / 3),
    }


def test_figures_at_one_half_do_not_depend_on_the_threshold() -> None:
    assert part(threshold=0.95).at_half == {"f1": pytest.approx(2 / 3), "precision": 2 / 3, "recall": 2 / 3}


def test_highest_and_deviation() -> None:
    test = part(scored([0.6], [0.2]))
    assert (test.highest, test.deviation) == (0.6, pytest.approx(0.2))


def test_roc_curve_of_a_hand_made_part() -> None:
    roc = part(scored([0.9, 0.6], [0.7, 0.1])).roc
    assert (roc.fpr, roc.tpr) == ((0.0, 0.0, 0.5, 0.5, 1.0), (0.0, 0.5, 0.5, 1.0, 1.0))


def test_precision_recall_curve_of_a_hand_made_part() -> None:
    pr = part(scored([0.9, 0.6], [0.7, 0.1])).pr
    assert list(zip(pr.recall, pr.precision, strict=True)) == [(1.0, 0.5), (1.0, 0.666667), (0.5, 0.5), (0.5, 1.0), (0.0, 1.0)]


def test_calibration_leaves_empty_bins_out() -> None:
    calibration = part(scored([0.95, 1.0, 0.42], [0.0, 0.02, 0.44, 0.3])).calibration
    assert calibration.predicted == (0.01, 0.3, 0.43, 0.975)
    assert calibration.observed == (0.0, 0.0, 0.5, 1.0)
    assert calibration.counts == (2, 1, 2, 2)


def test_histogram_counts_each_class_and_puts_a_threshold_on_an_edge() -> None:
    histogram = part(scored([0.8, 0.15, 1.0], [0.7999, 0.0, 0.04])).histogram
    assert (len(histogram.relevant), len(histogram.not_relevant)) == (20, 20)
    assert {number: count for number, count in enumerate(histogram.relevant) if count} == {3: 1, 16: 1, 19: 1}
    assert {number: count for number, count in enumerate(histogram.not_relevant) if count} == {0: 2, 15: 1}


def test_history_becomes_columns_counted_from_one() -> None:
    history = evaluate(validation=SMALL, test=SMALL, threshold=0.8, history=HISTORY).history
    assert (history.steps, history.series) == ((1, 2), {"loss": (0.7, 0.4), "val_loss": (0.6, 0.5)})


def test_history_without_a_number_is_none() -> None:
    steps = [{"loss": math.nan}, {"loss": math.inf, "val_loss": 0.5}, {"loss": 0.123456789}]
    history = evaluate(validation=SMALL, test=SMALL, threshold=0.8, history=steps).history
    assert history.series == {"loss": (None, None, 0.123457), "val_loss": (None, 0.5, None)}


def test_no_history_is_empty() -> None:
    history = evaluate(validation=SMALL, test=SMALL, threshold=0.8, history=[]).history
    assert (history.steps, history.series) == ((), {})


def test_long_history_keeps_its_ends() -> None:
    steps = [{"loss": float(number)} for number in range(10_000)]
    history = evaluate(validation=SMALL, test=SMALL, threshold=0.8, history=steps).history
    assert (len(history.steps), history.steps[0], history.steps[-1]) == (200, 1, 10_000)
    assert (history.series["loss"][0], history.series["loss"][-1]) == (0.0, 9999.0)


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    test = part(random_part(20_000))
    assert len(test.roc.fpr) == len(test.roc.tpr) == len(test.pr.recall) == len(test.pr.precision) == 200
    assert (test.roc.fpr[0], test.roc.tpr[0], test.roc.fpr[-1], test.roc.tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert (test.pr.recall[0], test.pr.recall[-1], test.pr.precision[-1]) == (1.0, 0.0, 1.0)


def test_area_under_the_thinned_curve_is_equal_to_the_metric() -> None:
    test = part(random_part(20_000))
    assert np.trapezoid(test.roc.tpr, test.roc.fpr) == pytest.approx(test.metrics["roc_auc"], abs=1e-3)


def test_the_file_has_less_than_64_kilobytes() -> None:
    steps = [{f"figure_{name}": -math.pi * 1e-100 * number for name in range(50)} for number in range(5_000)]
    large = random_part(100_000)
    assert len(evaluate(validation=large, test=large, threshold=0.8, history=steps).encode().encode()) <= 64 * 1024


def test_the_file_is_read_as_it_was_written() -> None:
    evaluation = evaluate(validation=SMALL, test=random_part(500), threshold=0.8, history=[*HISTORY, {"loss": math.nan}])
    assert Evaluation.model_validate_json(evaluation.encode()) == evaluation


def test_the_file_contains_no_nan() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = evaluate(validation=SMALL, test=SMALL, threshold=0.8, history=[{"loss": math.nan, "val_loss": math.inf}]).encode()
    assert set(json.loads(text, parse_constant=refuse)) == set(Evaluation.model_fields)


def test_evaluation_refuses_a_nan() -> None:
    with pytest.raises(ValidationError, match="Input should be a finite number"):
        PartEvaluation.model_validate({**part().model_dump(), "highest": math.nan})


@pytest.mark.parametrize("bad", [[math.nan, 0.5], [1.5, 0.5]])
def test_invalid_probabilities_are_an_error(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^probabilities must lie in \[0, 1\]"):
        part((np.array([0, 1], dtype=np.int8), np.array(bad)))


def test_single_class_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^metrics need both classes; the part has one$"):
        part(scored([0.9, 0.2], []))


def test_sound_model_gives_no_warning() -> None:
    assert warnings([0.9] * 8 + [0.6] * 4, [0.1] * 20) == ()


def test_no_article_above_the_threshold_gives_a_warning_with_figures() -> None:
    assert warnings([0.439, 0.2] * 8, [0.3, 0.1] * 8) == (
        "no test article reaches the threshold 0.8: the highest probability is 0.439, so precision, recall and f1 are 0; ROC AUC is 0.750",
    )


def test_highest_probability_is_never_rounded_up_to_the_threshold() -> None:
    assert "the highest probability is 0.799, " in warnings([0.7999999, 0.2] * 8, [0.3, 0.1] * 8)[0]


def test_only_false_alarms_at_the_threshold() -> None:
    assert warnings([0.7] * 10, [0.9, 0.9] + [0.1] * 18) == (
        "2 test articles reach the threshold 0.8 and none is relevant, so precision, recall and f1 are 0; ROC AUC is 0.900",
    )


def test_one_false_alarm_at_the_threshold() -> None:
    assert warnings([0.7] * 10, [0.9] + [0.1] * 19)[0].startswith("1 test article reaches the threshold 0.8 and none is relevant")


def test_all_articles_above_the_threshold_give_a_warning() -> None:
    assert warnings([0.95] * 10, [0.85] * 10) == ("all 20 test articles reach the threshold 0.8: it excludes no article; ROC AUC is 1.000",)


def test_more_missed_than_found_articles_give_a_warning() -> None:
    assert warnings([0.9] * 2 + [0.6] * 4 + [0.3] * 6, [0.1] * 20) == (
        "at the threshold 0.8 the model finds only 2 of 12 relevant test articles (recall 0.167; at 0.5 it is 0.500); ROC AUC is 1.000",
    )


def test_a_threshold_of_one_half_is_compared_with_nothing() -> None:
    found = warnings([0.9] * 2 + [0.3] * 8, [0.1] * 20, threshold=0.5)

    assert found == ("at the threshold 0.5 the model finds only 2 of 10 relevant test articles (recall 0.200); ROC AUC is 1.000",)


def test_half_of_the_articles_found_gives_no_warning() -> None:
    assert warnings([0.9] * 6 + [0.6] * 6, [0.1] * 20) == ()


def test_nearly_equal_probabilities_give_a_warning() -> None:
    assert warnings([0.812, 0.811] * 5, [0.81] * 10)[1] == (
        "the probabilities of the test articles hardly vary (standard deviation 0.00083): "
        "the model gives nearly the same probability to every text"
    )


@pytest.mark.parametrize(("spread", "warned"), [(0.0099, True), (0.0101, False)])
def test_a_deviation_of_one_percentage_point_gives_no_warning(spread: float, warned: bool) -> None:
    found = warnings([0.9 + spread] * 10, [0.9 - spread] * 10)
    assert any("hardly vary" in sentence for sentence in found) == warned


def test_worse_than_chance() -> None:
    assert warnings([0.9] * 7 + [0.1] * 5, [0.95] * 10 + [0.2] * 2) == ("on the test part the ROC AUC is 0.097, worse than chance (0.5)",)


def test_an_interval_that_includes_chance_gives_a_warning() -> None:
    assert warnings([0.9] * 7 + [0.1] * 5, [0.9] * 4 + [0.1] * 6)[-1] == (
        "on the test part the ROC AUC is 0.592, and its 95 % interval 0.367 to 0.783 includes chance (0.5)"
    )


def test_a_baseline_that_ranks_better_than_the_interval_gives_a_warning() -> None:
    labels, probabilities = scored([0.9] * 9 + [0.1] * 3, [0.9] * 3 + [0.1] * 17)

    def evaluated(baseline: NDArray[np.float64]) -> Evaluation:
        return evaluate(validation=SMALL, test=(labels, probabilities), threshold=0.8, history=[], baseline=baseline)

    assert evaluated(labels.astype(np.float64)).warnings == (
        "TF-IDF and logistic regression rank the test articles better: ROC AUC 1.000 against 0.800 (95 % interval 0.625 to 0.925)",
    )
    assert evaluated(probabilities).warnings == ()


def test_curves_have_the_threshold_of_each_point() -> None:
    test = part(scored([0.9, 0.6], [0.7, 0.1]))
    assert test.roc.thresholds == (None, 0.9, 0.7, 0.6, 0.1)
    assert test.pr.thresholds == (0.1, 0.6, 0.7, 0.9, None)


def test_the_file_of_an_older_release_is_read() -> None:
    content = json.loads(evaluate(validation=SMALL, test=SMALL, threshold=0.8, history=[]).encode())
    for name in ("operating_points", "ranking", "baseline"):
        del content[name]
    for name in ("validation", "test"):
        del content[name]["roc"]["thresholds"], content[name]["pr"]["thresholds"]

    older = Evaluation.model_validate(content)

    assert (older.operating_points, older.ranking, older.test.roc.thresholds) == ((), None, ())


def test_chance_itself_is_not_worse_than_chance() -> None:
    assert not any("worse than chance" in sentence for sentence in warnings([0.5] * 10, [0.5] * 10))


@pytest.mark.parametrize(
    ("relevant", "not_relevant", "articles"),
    [(9, 20, "9 relevant articles"), (1, 20, "1 relevant article"), (20, 9, "9 not relevant articles"), (20, 1, "1 not relevant article")],
)
def test_few_articles_of_a_class(relevant: int, not_relevant: int, articles: str) -> None:
    assert warnings([0.9] * relevant, [0.1] * not_relevant)[-1] == (
        f"the test part holds only {articles}: the test figures are uncertain by several points"
    )


def test_ten_articles_of_each_class_are_not_few() -> None:
    assert warnings([0.9] * 10, [0.1] * 10) == ()


def test_the_validation_part_gives_no_warning() -> None:
    weak: NDArray[np.float64] = np.full(4, 0.1)
    evaluation = evaluate(
        validation=(np.array([0, 1, 0, 1], dtype=np.int8), weak), test=scored([0.9] * 10, [0.1] * 10), threshold=0.8, history=[]
    )
    assert evaluation.warnings == ()


def test_worst_warning_comes_first() -> None:
    found = warnings([0.5] * 3, [0.501] * 20)
    assert [sentence.split(":")[0][:28] for sentence in found] == [
        "no test article reaches the ",
        "the probabilities of the tes",
        "on the test part the ROC AUC",
        "the test part holds only 3 r",
    ]


def test_import_loads_no_training_library() -> None:
    heavy = "{'tensorflow', 'keras', 'sklearn', 'lightgbm', 'matplotlib', 'transformers', 'django'}"
    program = f"import sys; import gregory.ml.evaluation, gregory.ml.model_card.page; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
