from pathlib import Path

import pytest

from gregory.ml.progress_log import ProgressLog, work_digest


def test_entries_are_read_in_order(tmp_path: Path) -> None:
    progress_log = ProgressLog(tmp_path / "made" / "here.jsonl", work="a")
    progress_log.append({"Größe": 1})
    progress_log.append([2, "x\ny"])
    assert ProgressLog(tmp_path / "made" / "here.jsonl", work="a").entries == progress_log.entries == [{"Größe": 1}, [2, "x\ny"]]


def test_a_log_of_other_work_is_replaced(tmp_path: Path) -> None:
    ProgressLog(tmp_path / "j", work="a").append(1)
    assert ProgressLog(tmp_path / "j", work="b").entries == []
    assert ProgressLog(tmp_path / "j", work="a").entries == []


@pytest.mark.parametrize("end", ['{"cut', '"no newline"', "\0\0\0\n[3]\n", "\xff\n"])
def test_a_line_cut_by_the_end_of_a_process_is_dropped(end: str, tmp_path: Path) -> None:
    ProgressLog(tmp_path / "j", work="a").append(1)
    with (tmp_path / "j").open("a", encoding="latin-1") as stream:
        stream.write(end)
    repaired = ProgressLog(tmp_path / "j", work="a")
    assert repaired.entries == [1]
    repaired.append(2)
    assert ProgressLog(tmp_path / "j", work="a").entries == [1, 2]


def test_without_a_path_entries_are_in_memory_only() -> None:
    progress_log = ProgressLog(None, work="a")
    progress_log.append(1)
    assert progress_log.entries == [1]


def test_the_digest_depends_on_every_part_of_the_work() -> None:
    names = {work_digest("a", "b"), work_digest("ab"), work_digest("a", texts=["b"]), work_digest("a", texts=["b", ""])}
    assert len(names) == 4
    assert work_digest("a", texts=iter(["b"])) == work_digest("a", texts=["b"])
