from pathlib import Path

import pytest

from gregory.ml.progress_log import Journal, name_of_work


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "made" / "here.jsonl", work="a")
    journal.append({"Größe": 1})
    journal.append([2, "x\ny"])
    assert Journal(tmp_path / "made" / "here.jsonl", work="a").entries == journal.entries == [{"Größe": 1}, [2, "x\ny"]]


def test_a_journal_of_other_work_is_begun_anew(tmp_path: Path) -> None:
    Journal(tmp_path / "j", work="a").append(1)
    assert Journal(tmp_path / "j", work="b").entries == []
    assert Journal(tmp_path / "j", work="a").entries == []


@pytest.mark.parametrize("end", ['{"cut', '"no newline"', "\0\0\0\n[3]\n", "\xff\n"])
def test_what_the_end_of_a_process_cut_short_is_dropped(end: str, tmp_path: Path) -> None:
    Journal(tmp_path / "j", work="a").append(1)
    with (tmp_path / "j").open("a", encoding="latin-1") as stream:
        stream.write(end)
    repaired = Journal(tmp_path / "j", work="a")
    assert repaired.entries == [1]
    repaired.append(2)
    assert Journal(tmp_path / "j", work="a").entries == [1, 2]


def test_without_a_path_it_only_remembers() -> None:
    journal = Journal(None, work="a")
    journal.append(1)
    assert journal.entries == [1]


def test_work_is_named_by_everything_in_it() -> None:
    names = {name_of_work("a", "b"), name_of_work("ab"), name_of_work("a", texts=["b"]), name_of_work("a", texts=["b", ""])}
    assert len(names) == 4
    assert name_of_work("a", texts=iter(["b"])) == name_of_work("a", texts=["b"])
