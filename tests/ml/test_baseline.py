"""The baseline ranks texts by their words, and gives up without words."""

import numpy as np

from gregory.ml.baseline import baseline
from gregory.ml.dataset import Example
from gregory.ml.split import Part


def part(*texts: tuple[str, int]) -> Part:
    return Part.of([Example(article_id=number, text=text, label=label) for number, (text, label) in enumerate(texts)])


TRAIN = part(("myelin lesion", 1), ("myelin relapse", 1), ("tax harvest", 0), ("tax weather", 0), ("railway weather", 0))


def test_a_text_of_the_relevant_words_gets_a_higher_probability():
    relevant, other = baseline(TRAIN, ["a myelin study", "a tax study"])

    assert 0 < other < relevant < 1


def test_two_fits_are_equal():
    assert np.array_equal(baseline(TRAIN, ["myelin"]), baseline(TRAIN, ["myelin"]))


def test_texts_without_words_have_no_baseline():
    assert baseline(part(("-", 1), ("?", 0)), ["-"]) is None
