"""predictions.csv: the parts of a split, exact probabilities, no text, and damaged files."""

from pathlib import Path

import numpy as np
import pytest

from gregory.ml.dataset import Example
from gregory.ml.errors import DamagedFile
from gregory.ml.predictions import PREDICTIONS, Prediction, predictions, read_predictions, text_hash, write_predictions
from gregory.ml.split import Part, Split

HEADER = "article_id,part,label,pseudo_label,probability,text_hash\n"


def part(*examples: tuple[int, str, int]) -> Part:
    return Part.of([Example(article_id=article_id, text=text, label=label) for article_id, text, label in examples])


SPLIT = Split(
    train=part((1, "one", 1), (2, "two", 0), (9, "nine, by BERT", 1)),
    validation=part((3, "three", 1)),
    test=part((4, "four", 0), (5, "five", 1)),
)


def write(folder: Path) -> str:
    rows = predictions(SPLIT, validation=np.array([0.1 + 0.2]), test=np.array([1e-9, 1.0]), pseudo_labelled=1)
    write_predictions(folder, rows)
    return (folder / PREDICTIONS).read_text()


def test_the_file_has_a_line_per_article_and_no_text(tmp_path: Path):
    assert write(tmp_path) == HEADER + (
        "1,train,1,0,,7692c3ad3540bb80\n"
        "2,train,0,0,,3fc4ccfe745870e2\n"
        f"9,train,1,1,,{text_hash('nine, by BERT')}\n"
        f"3,validation,1,0,0.30000000000000004,{text_hash('three')}\n"
        f"4,test,0,0,1e-09,{text_hash('four')}\n"
        f"5,test,1,0,1.0,{text_hash('five')}\n"
    )


def test_the_file_is_read_as_it_was_written(tmp_path: Path):
    write(tmp_path)

    read = read_predictions(tmp_path)

    assert read is not None
    assert len(read) == 6
    assert read[2] == Prediction(
        article_id=9, part="train", label=1, pseudo_label=True, probability=None, text_hash=text_hash("nine, by BERT")
    )
    assert read[3].probability == 0.1 + 0.2


def test_a_version_of_an_older_release_has_no_predictions(tmp_path: Path):
    assert read_predictions(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"line 1 is not {HEADER.strip()}"),
        ("article_id,label\n", f"line 1 is not {HEADER.strip()}"),
        (HEADER + "1,train,1,0,\n", "line 2 is damaged"),
        (HEADER + "1,train,1,0,,aa\nx,test,1,0,0.5,aa\n", "line 3 is damaged"),
        (HEADER + "1,test,2,0,0.5,aa\n", "line 2 is damaged"),
        (HEADER + "1,other,1,0,0.5,aa\n", "line 2 is damaged"),
        (HEADER + "1,test,1,0,,aa\n", "line 2 is damaged"),
        (HEADER + "1,train,1,0,0.5,aa\n", "line 2 is damaged"),
        (HEADER + "1,test,1,0,nan,aa\n", "line 2 is damaged"),
        (HEADER + "1,test,1,0,1.5,aa\n", "line 2 is damaged"),
        (HEADER + '1,test,1,0,"0.5\n', "line 2 is damaged"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / PREDICTIONS).write_text(text)

    with pytest.raises(DamagedFile) as error:
        read_predictions(tmp_path)

    assert str(error.value) == f"{tmp_path / PREDICTIONS}: {message}"


def test_a_hundred_thousand_articles_need_a_few_megabytes(tmp_path: Path):
    rows = (
        Prediction(
            article_id=1_000_000 + number,
            part="train" if number % 10 < 7 else "test",
            label=0,
            pseudo_label=False,
            probability=None if number % 10 < 7 else 1 / (number + 3),
            text_hash=text_hash(str(number)),
        )
        for number in range(10_000)
    )

    write_predictions(tmp_path, rows)

    assert (tmp_path / PREDICTIONS).stat().st_size < 500_000
