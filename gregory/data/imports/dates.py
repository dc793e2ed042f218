"""Dates as screening tools and databases write them."""

import re
from datetime import UTC, datetime

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_FIRST = re.compile(r"(\d{4})(?:[-/. ](\d{1,2}|[a-z]{3,9})\.?(?:[-/. ](\d{1,2}))?)?")
_DAY_FIRST = re.compile(r"(\d{1,2})[./ -](\d{1,2}|[a-z]{3,9})\.?[./ ,-]\s*(\d{4})")
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.?(?: (\d{1,2})(?:st|nd|rd|th)?)?,? (\d{4})")
_WEEK = re.compile(r"(\d{4})-?w(\d{2})(?:-?(\d))?")


def moment(value: str) -> datetime | None:
    """The time in UTC, or None if it cannot be read. A month or a year is its first day. 3/4/2021 can be two days, so it is None."""
    text = value.strip()
    try:
        found = _iso(text) or _other(text.casefold())
        return found and (found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _other(text: str) -> datetime | None:
    if found := _WEEK.fullmatch(text):
        return datetime.fromisocalendar(int(found[1]), int(found[2]), int(found[3] or 1))
    if found := _YEAR_FIRST.fullmatch(text):
        return datetime(int(found[1]), _month(found[2] or "1"), int(found[3] or 1))
    if found := _MONTH_FIRST.fullmatch(text):
        return datetime(int(found[3]), _month(found[1]), int(found[2] or 1))
    if found := _DAY_FIRST.fullmatch(text):
        return _day_first(int(found[1]), found[2], int(found[3]), certain="." in text)
    return None


def _day_first(first: int, second: str, year: int, *, certain: bool) -> datetime | None:
    """certain: the day comes first, as always with dots. Else the numbers must show it."""
    if certain or not second.isdecimal() or first > 12 or first == int(second):
        return datetime(year, _month(second), first)
    return datetime(year, first, int(second)) if int(second) > 12 else None


def _month(text: str) -> int:
    return int(text) if text.isdecimal() else _MONTHS.index(text[:3]) + 1
