"""The file of accepted pseudo-labels gets its place once."""

import os
from pathlib import Path

from gregory.ml.pseudo_label_file import keep_pseudo_labels

MOMENT = 1767323045  # 2026-01-02 03:04:05 UTC


def labels(path: Path, text: str) -> Path:
    path.write_text(text)
    os.utime(path, (MOMENT, MOMENT))
    return path


def test_files_of_one_second_get_suffixes(tmp_path: Path):
    sources = [labels(tmp_path / f"{number}.csv", str(number)) for number in range(3)]

    names = [keep_pseudo_labels(source, tmp_path, team="t", subject="s").name for source in sources]

    assert names == ["20260102_030405.csv", "20260102_030405_2.csv", "20260102_030405_3.csv"]


def test_a_file_is_stored_once(tmp_path: Path):
    source = labels(tmp_path / "labels.csv", "x")

    kept = [keep_pseudo_labels(source, tmp_path, team="t", subject="s") for _ in range(2)]

    assert kept[0] == kept[1]
    assert kept[0].samefile(source)
    assert len(list(kept[0].parent.iterdir())) == 1


def test_another_file_system_gets_a_copy_once(tmp_path: Path, other_file_system: Path):
    """The folder of the subject is a link to it."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "s").symlink_to(other_file_system)
    source = labels(tmp_path / "labels.csv", "x")

    kept = [keep_pseudo_labels(source, tmp_path, team="t", subject="s") for _ in range(2)]

    assert kept[0] == kept[1]
    assert not kept[0].samefile(source)
    assert [path.name for path in kept[0].parent.iterdir()] == ["20260102_030405.csv"]
