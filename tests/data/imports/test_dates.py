"""Dates in the forms of the tools."""

from datetime import UTC, datetime

import pytest

from gregory.data.imports.dates import moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-06-30", (2025, 6, 30)),
        ("2025-06-30 08:15", (2025, 6, 30, 8, 15)),
        ("2025-06-30T12:00:00+02:00", (2025, 6, 30, 10)),
        ("2025-06-30T08:15:00Z", (2025, 6, 30, 8, 15)),
        ("20250630", (2025, 6, 30)),
        ("2025/06/30", (2025, 6, 30)),
        ("2025 Jun 30", (2025, 6, 30)),
        ("2025 June", (2025, 6, 1)),
        ("2025-06", (2025, 6, 1)),
        ("2025", (2025, 1, 1)),
        ("2025-W18", (2025, 4, 28)),
        ("2025-W18-3", (2025, 4, 30)),
        ("30.06.2025", (2025, 6, 30)),
        ("3.4.2025", (2025, 4, 3)),
        ("30 June 2025", (2025, 6, 30)),
        ("30-Jun-2025", (2025, 6, 30)),
        ("June 30, 2025", (2025, 6, 30)),
        ("Jun 2025", (2025, 6, 1)),
        ("30/6/2025", (2025, 6, 30)),
        ("6/30/2025", (2025, 6, 30)),
        ("5/5/2025", (2025, 5, 5)),
    ],
)
def test_dates_that_are_read(text, expected):
    assert moment(f" {text} ") == datetime(*expected, tzinfo=UTC)


@pytest.mark.parametrize("text", ["3/4/2025", "soon", "2025-13", "31.02.2025", "2025-W60", "0001-01-01T00:00+14:00", "Jux 2025", "99999"])
def test_dates_that_cannot_be_read_or_have_two_meanings(text):
    assert moment(text) is None
