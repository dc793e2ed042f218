"""The stratified split: its guarantees and its errors."""

import pytest

from gregory.ml.config import SplitConfig
from gregory.ml.dataset import Dataset, Example, deduplicate
from gregory.ml.errors import StratificationError
from gregory.ml.split import Part, Split, stratified


def dataset(*, relevant: int, not_relevant: int) -> Dataset:
    labels = [1] * relevant + [0] * not_relevant
    return deduplicate(Example(article_id=number, text=f"text {number}", label=label) for number, label in enumerate(labels))


def parts(split: Split) -> tuple[Part, Part, Part]:
    return split.train, split.validation, split.test


def test_parts_have_no_common_text_and_together_all_texts() -> None:
    texts = [text for part in parts(stratified(dataset(relevant=30, not_relevant=70), SplitConfig())) for text in part.texts]
    assert sorted(texts) == sorted(f"text {number}" for number in range(100))


def test_shares_are_70_15_15_in_each_class() -> None:
    assert stratified(dataset(relevant=200, not_relevant=1000), SplitConfig()).counts() == {
        "train": {"relevant": 140, "not_relevant": 700},
        "validation": {"relevant": 30, "not_relevant": 150},
        "test": {"relevant": 30, "not_relevant": 150},
    }


def test_shares_follow_the_configuration() -> None:
    split = stratified(dataset(relevant=50, not_relevant=50), SplitConfig(validation=0.1, test=0.2))
    assert [len(part.texts) for part in parts(split)] == [70, 10, 20]


def test_text_label_and_id_stay_together() -> None:
    split = stratified(dataset(relevant=20, not_relevant=20), SplitConfig())
    for part in parts(split):
        assert part.texts == tuple(f"text {number}" for number in part.article_ids)
        assert part.labels.tolist() == [int(number < 20) for number in part.article_ids]


def test_seed_is_69_by_default() -> None:
    data = dataset(relevant=20, not_relevant=20)
    assert stratified(data, SplitConfig()).test.texts == stratified(data, SplitConfig(seed=69)).test.texts


def test_another_seed_gives_another_split() -> None:
    data = dataset(relevant=20, not_relevant=20)
    assert stratified(data, SplitConfig(seed=1)).test.texts != stratified(data, SplitConfig()).test.texts


def test_the_order_of_the_examples_does_not_matter() -> None:
    rows = dataset(relevant=20, not_relevant=20).examples
    assert stratified(deduplicate(reversed(rows)), SplitConfig()).test.texts == stratified(deduplicate(rows), SplitConfig()).test.texts


def test_more_training_examples_do_not_change_the_other_parts() -> None:
    split = stratified(dataset(relevant=20, not_relevant=20), SplitConfig())
    more = split.with_more_training([Example(article_id=99, text="pseudo", label=1)])
    assert (more.train.article_ids[-1], more.train.texts[-1], more.train.labels[-1], len(more.train.texts)) == (99, "pseudo", 1, 29)
    assert (more.validation, more.test) == (split.validation, split.test)


def test_no_labelled_article_is_an_error() -> None:
    message = "no labelled article in the data window; label some, or widen the window with --lookback-days N or --all-articles"
    with pytest.raises(StratificationError) as caught:
        stratified(dataset(relevant=0, not_relevant=0), SplitConfig())
    assert str(caught.value) == message


@pytest.mark.parametrize(("relevant", "not_relevant"), [(0, 40), (40, 0), (1, 1), (2, 40), (3, 3), (4, 40), (40, 4), (5, 5)])
def test_too_few_of_a_class_is_an_error(relevant: int, not_relevant: int) -> None:
    with pytest.raises(StratificationError) as caught:
        stratified(dataset(relevant=relevant, not_relevant=not_relevant), SplitConfig())
    assert str(caught.value) == (
        "a stratified 70/15/15 split needs both classes in every part: 6 articles of each class are always enough, there are "
        f"{relevant} relevant and {not_relevant} not relevant; label more, or widen the window with --lookback-days N or --all-articles"
    )


def test_an_error_of_the_library_is_not_told_as_too_few_articles() -> None:
    with pytest.raises(ValueError, match=r"random_state") as caught:
        stratified(dataset(relevant=40, not_relevant=40), SplitConfig.model_construct(validation=0.15, test=0.15, seed=-1))

    assert not isinstance(caught.value, StratificationError)


def test_small_split_gives_each_part_both_classes() -> None:
    counts = stratified(dataset(relevant=7, not_relevant=14), SplitConfig()).counts()
    assert min(count for part in counts.values() for count in part.values()) == 1
