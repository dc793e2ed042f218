"""Summaries that were made are not made again in the same run, and never taken from another."""

from pathlib import Path

import pytest

from gregory.ml.progress import Progress, silent
from gregory.ml.summarise import summarise_all

ABSTRACTS = ["one", "", "three words here", "two words", "a", "five whole words stand here"]


class Upper:
    """Counts its batches, and dies before the one it is told."""

    def __init__(self, dies_before: int = 99) -> None:
        self.batches: list[list[str]] = []
        self.dies_before = dies_before

    def summarise(self, texts):
        if len(self.batches) + 1 == self.dies_before:
            raise KeyboardInterrupt
        self.batches.append(list(texts))
        return [text.upper() for text in texts]


@pytest.mark.parametrize("done", [1, 2])
def test_only_what_is_missing_is_summarised(done: int, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        summarise_all(ABSTRACTS, Upper(done + 1), batch_size=2, report=silent, resume_file=tmp_path / "kept")
    summariser, said = Upper(), list[Progress]()

    summaries = summarise_all(ABSTRACTS, summariser, batch_size=2, report=said.append, resume_file=tmp_path / "kept")

    assert summaries == [text.upper() for text in ABSTRACTS]
    whole = Upper()
    summarise_all(ABSTRACTS, whole, batch_size=2, report=silent)
    assert summariser.batches == whole.batches[done:]
    assert said[0].message == f"continuing after {2 * done} of 5 abstracts"


def test_finished_work_is_not_repeated(tmp_path: Path) -> None:
    first = summarise_all(ABSTRACTS, Upper(), batch_size=4, report=silent, resume_file=tmp_path / "kept")
    summariser = Upper()
    assert summarise_all(ABSTRACTS, summariser, batch_size=4, report=silent, resume_file=tmp_path / "kept") == first
    assert summariser.batches == []


@pytest.mark.parametrize(("abstracts", "batch_size"), [([*ABSTRACTS, "new"], 2), (ABSTRACTS, 3)])
def test_other_work_is_done_from_the_start(abstracts: list[str], batch_size: int, tmp_path: Path) -> None:
    summarise_all(ABSTRACTS, Upper(), batch_size=2, report=silent, resume_file=tmp_path / "kept")
    summariser = Upper()
    summarise_all(abstracts, summariser, batch_size=batch_size, report=silent, resume_file=tmp_path / "kept")
    assert sorted(text for batch in summariser.batches for text in batch) == sorted(text for text in abstracts if text)
