"""The rule that the commands use without scikit-learn agrees with scikit-learn's splits."""

import pytest

from gregory.ml.config import SplitConfig
from gregory.ml.errors import StratificationError
from gregory.ml.split import stratified
from gregory.ml.stratification import enough, is_certain, prospect, require_possible
from tests.ml.test_split import dataset

TOTALS = (*range(5, 26), 30, 31, 40, 50)


def possible(relevant: int, not_relevant: int, config: SplitConfig) -> bool:
    try:
        require_possible(relevant, not_relevant, config)
    except StratificationError:
        return False
    return True


def splits(relevant: int, not_relevant: int, *, seeds: int, **shares: float) -> list[bool]:
    """Whether scikit-learn fills every part, for each seed."""
    data, filled = dataset(relevant=relevant, not_relevant=not_relevant), []
    for seed in range(seeds):
        try:
            stratified(data, SplitConfig(seed=seed, **shares))
        except StratificationError:
            filled.append(False)
        else:
            filled.append(True)
    return filled


@pytest.mark.parametrize("relevant", range(2, 8))
def test_the_rule_agrees_with_the_splits(relevant: int) -> None:
    for not_relevant in (total - relevant for total in TOTALS if total > relevant):
        filled = splits(relevant, not_relevant, seeds=2)
        assert possible(relevant, not_relevant, SplitConfig()) or not any(filled), not_relevant
        assert all(filled) or not is_certain(relevant, not_relevant, SplitConfig()), not_relevant


def test_five_of_a_class_depend_on_the_seed_if_the_share_is_between_two_numbers() -> None:
    assert set(splits(5, 35, seeds=6)) == {True, False}
    assert (possible(5, 35, SplitConfig()), is_certain(5, 35, SplitConfig())) == (True, False)
    assert is_certain(5, 36, SplitConfig())


@pytest.mark.parametrize(("shares", "number"), [({}, 6), ({"validation": 0.2, "test": 0.2}, 4), ({"validation": 0.05, "test": 0.25}, 19)])
def test_enough_articles_of_a_class_follow_from_the_shares(shares: dict[str, float], number: int) -> None:
    config = SplitConfig(**shares)
    assert enough(config) == number
    assert all(all(splits(number, other, seeds=2, **shares)) for other in (number, number + 1, 3 * number, 100))
    assert all(is_certain(relevant, other, config) for relevant in range(number, 40) for other in range(relevant, 120))


def test_the_message_names_the_configured_shares() -> None:
    with pytest.raises(StratificationError) as caught:
        require_possible(3, 40, SplitConfig(validation=0.2, test=0.2))
    assert str(caught.value) == (
        "a stratified 60/20/20 split needs both classes in every part: 4 articles of each class are always enough, there are 3 relevant "
        "and 40 not relevant; label more, or widen the window with --lookback-days N or --all-articles"
    )


@pytest.mark.parametrize(
    ("relevant", "not_relevant", "advice"),
    [
        (67, 67, ""),
        (20, 500, "too few for certain test figures: label 47 more relevant"),
        (20, 66, "too few for certain test figures: label 47 more relevant and 1 more not relevant"),
    ],
)
def test_labels_that_can_be_split_may_be_too_few_for_certain_figures(relevant: int, not_relevant: int, advice: str) -> None:
    found = prospect(relevant, not_relevant, SplitConfig())
    assert (found.error, found.advice) == (None, advice)


def test_labels_that_cannot_be_split_need_no_advice() -> None:
    found = prospect(4, 40, SplitConfig(), whole=True)
    assert (str(found.error)[-12:], found.advice) == ("; label more", "")
