"""Completed summaries are not made again in the same run, and other runs do not use them."""

from pathlib import Path

import pytest

from gregory.ml.progress import Progress, silent
from gregory.ml.summarise import summarise_all

ABSTRACTS = ["one", "", "three words here", "two words", "a", "five whole words stand here"]


class Upper:
    """Counts its batches, and fails before a given batch."""

    at_once = 1

    def __init__(self, fails_before: int = 99) -> None:
        self.batches: list[list[str]] = []
        self.fails_before = fails_before

    def summarise(self, texts):
        if len(self.batches) + 1 == self.fails_before:
            raise KeyboardInterrupt
        self.batches.append(list(texts))
        return [text.upper() for text in texts]


@pytest.mark.parametrize("done", [1, 2])
def test_only_missing_summaries_are_made(done: int, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        summarise_all(ABSTRACTS, Upper(done + 1), batch_size=2, report=silent, resume_file=tmp_path / "kept")
    summariser, said = Upper(), list[Progress]()

    summaries = summarise_all(ABSTRACTS, summariser, batch_size=2, report=said.append, resume_file=tmp_path / "kept")

    assert summaries == [text.upper() for text in ABSTRACTS]
    whole = Upper()
    summarise_all(ABSTRACTS, whole, batch_size=2, report=silent)
    assert summariser.batches == whole.batches[done:]
    assert said[0].message == f"continuing after {2 * done} of 5 abstracts"


def test_completed_work_is_not_repeated(tmp_path: Path) -> None:
    first = summarise_all(ABSTRACTS, Upper(), batch_size=4, report=silent, resume_file=tmp_path / "kept")
    summariser = Upper()
    assert summarise_all(ABSTRACTS, summariser, batch_size=4, report=silent, resume_file=tmp_path / "kept") == first
    assert summariser.batches == []


@pytest.mark.parametrize(("abstracts", "batch_size"), [([*ABSTRACTS, "new"], 2), (ABSTRACTS, 3)])
def test_other_work_starts_at_the_beginning(abstracts: list[str], batch_size: int, tmp_path: Path) -> None:
    summarise_all(ABSTRACTS, Upper(), batch_size=2, report=silent, resume_file=tmp_path / "kept")
    summariser = Upper()
    summarise_all(abstracts, summariser, batch_size=batch_size, report=silent, resume_file=tmp_path / "kept")
    assert sorted(text for batch in summariser.batches for text in batch) == sorted(text for text in abstracts if text)
