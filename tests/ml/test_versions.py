"""Names of versions: the counter of a day and the names that an operator can choose."""

from datetime import date

import pytest

from gregory.ml.versions import following, is_valid, next_version

DAY = date(2025, 6, 14)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], "20250614"),
        (["20250613", "20250613_2"], "20250614"),
        (["20250614_2"], "20250614"),
        (["20250614"], "20250614_2"),
        (["20250614", "20250614_2"], "20250614_3"),
        (["20250614", "20250614_3"], "20250614_2"),
        (["20250614", *(f"20250614_{number}" for number in range(2, 12))], "20250614_12"),
        (["20250614-final", "mine"], "20250614"),
    ],
)
def test_the_first_free_name(taken: list[str], expected: str) -> None:
    assert next_version(taken, DAY) == expected


def test_another_day_starts_the_counter_again() -> None:
    taken = ["20251231", "20251231_2"]
    assert (next_version(taken, date(2025, 12, 31)), next_version(taken, date(2026, 1, 1))) == ("20251231_3", "20260101")


@pytest.mark.parametrize(
    ("version", "taken", "expected"),
    [
        ("20250614", ["20250614"], "20250614_2"),
        ("20250614_2", ["20250614", "20250614_2"], "20250614_3"),
        ("mine", ["mine", "mine_2"], "mine_3"),
        ("v1_2", [], "v1_2_2"),
        ("x" * 100, [], "x" * 98 + "_2"),
    ],
)
def test_the_next_name_of_a_taken_version(version: str, taken: list[str], expected: str) -> None:
    assert following(version, taken) == expected
    assert is_valid(expected)


@pytest.mark.parametrize("version", ["20250614", "20250614_2", "v1.0", "A", "7", "a..b", "x" * 100])
def test_names_that_can_be_folders(version: str) -> None:
    assert is_valid(version)


@pytest.mark.parametrize(
    "version",
    ["", " ", ".", "..", ".hidden", "../x", "a/b", "a\\b", "_2", "-rf", "x" * 101, "v 1", "v1\n", "v1\x00", "versão", "v１", "2025·06"],
)
def test_names_that_cannot_be_folders(version: str) -> None:
    assert not is_valid(version)
