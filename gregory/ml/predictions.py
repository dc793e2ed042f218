"""predictions.csv of a version: the articles of its three parts, and the probabilities of its validation and test articles.

It has no text. A hash tells whether two versions read the same text. The model gives the training articles no probability, because
nobody needs one and a large encoder takes long.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from gregory.ml.errors import DamagedFile
from gregory.ml.files import read_text

if TYPE_CHECKING:  # the commands read predictions without NumPy
    import numpy as np
    from numpy.typing import NDArray

    from gregory.ml.split import Part, Split

PREDICTIONS = "predictions.csv"

PartName: TypeAlias = Literal["train", "validation", "test"]
_COLUMNS = ("article_id", "part", "label", "pseudo_label", "probability", "text_hash")
# 64 bits. Among 100,000 texts, two have the same hash with a probability of 3e-10.
_HASH_CHARACTERS = 16
# A line has about 50 bytes.
_MAXIMUM_BYTES = 2**29


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One article of a part. pseudo_label: BERT gave the label. probability: None in the training part. text_hash: of `text_hash`."""

    article_id: int
    part: PartName
    label: int
    pseudo_label: bool
    probability: float | None
    text_hash: str


def text_hash(text: str) -> str:
    """The start of the sha256 of a text that a model reads: title and summary."""
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARACTERS]


def predictions(
    split: "Split", *, validation: "NDArray[np.float64]", test: "NDArray[np.float64]", pseudo_labelled: int = 0
) -> Iterator[Prediction]:
    """The predictions of a split. pseudo_labelled: the number of pseudo-labelled texts at the end of its training part."""
    train = split.train
    reviewed = len(train.texts) - pseudo_labelled
    yield from _of_part("train", train, (None for _ in train.texts), reviewed=reviewed)
    yield from _of_part("validation", split.validation, validation, reviewed=len(split.validation.texts))
    yield from _of_part("test", split.test, test, reviewed=len(split.test.texts))


def _of_part(name: PartName, part: "Part", probabilities: Iterable[float | None], *, reviewed: int) -> Iterator[Prediction]:
    rows = zip(part.article_ids, part.labels.tolist(), part.texts, probabilities, strict=True)
    for position, (article_id, label, text, probability) in enumerate(rows):
        yield Prediction(
            article_id=article_id,
            part=name,
            label=label,
            pseudo_label=position >= reviewed,
            probability=None if probability is None else float(probability),
            text_hash=text_hash(text),
        )


def write_predictions(folder: Path, rows: Iterable[Prediction]) -> None:
    """Write predictions.csv into a version folder. A probability is read again as exactly the same number."""
    with (folder / PREDICTIONS).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in rows:
            probability = "" if row.probability is None else repr(row.probability)
            writer.writerow([row.article_id, row.part, row.label, int(row.pseudo_label), probability, row.text_hash])


def read_predictions(folder: Path) -> tuple[Prediction, ...] | None:
    """The predictions of a version. None: an older release trained it. Raises DamagedFile and OSError. `verify` finds changed bytes."""
    path = folder / PREDICTIONS
    try:
        lines = csv.reader(io.StringIO(read_text(path, maximum=_MAXIMUM_BYTES), newline=""), strict=True)
    except FileNotFoundError:
        return None
    try:
        if tuple(next(lines, ())) != _COLUMNS:
            raise DamagedFile(f"{path}: line 1 is not {','.join(_COLUMNS)}")
        return tuple(_parsed(line) for line in lines)
    except (ValueError, csv.Error) as error:
        raise DamagedFile(f"{path}: line {lines.line_num} is damaged") from error


def _parsed(line: list[str]) -> Prediction:
    article_id, part, label, pseudo_label, probability, digest = line
    number = float(probability) if probability else None
    if part not in get_args(PartName) or {label, pseudo_label} - {"0", "1"} or (number is None) != (part == "train"):
        raise ValueError(line)
    if number is not None and not (math.isfinite(number) and 0 <= number <= 1):
        raise ValueError(line)
    return Prediction(
        article_id=int(article_id),
        part=part,  # type: ignore[arg-type]  # one of PartName, as compared above
        label=int(label),
        pseudo_label=pseudo_label == "1",
        probability=number,
        text_hash=digest,
    )
