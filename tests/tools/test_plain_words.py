"""`python -m tools.plain_words` on small files."""

import subprocess
from pathlib import Path

import pytest

from tools import plain_words
from tools.plain_words import Allowed, Retired, Table, check


def hits(text: str, *entries: Retired, path: str = "page.md") -> list[tuple[int, str]]:
    result = check({path: text}, Table(entries=entries))
    return [(hit.line, hit.word) for hit in result.hits]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("we hand over it", 1),
        ("Hand\n  over", 1),
        ("\ndef hand_over(): ...", 2),
        ("\n\nself._handOver()", 3),
        ("class HandOver:", 1),
        ("HAND_OVER = 1", 1),
        ('raise E("hand "\n    f"over")', 1),
        ("# hand\n# over", 1),
    ],
)
def test_a_phrase_is_found_in_prose_and_in_identifiers(text: str, line: int):
    assert hits(text, Retired(words=("hand over",), write="submit")) == [(line, "hand over")]


@pytest.mark.parametrize("text", ["handle overflow", "hand it over", "over hand", "handover"])
def test_a_phrase_is_whole_words_in_this_order(text: str):
    assert hits(text, Retired(words=("hand over",), write="submit")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call one_by_one now", [(1, "one_by_one")]),
        ("def _one_by_one", [(1, "one_by_one")]),
        ("one by one", []),
        ("one_by_one_more", []),
        ("none_by_one", []),
    ],
)
def test_an_entry_with_other_characters_is_found_as_it_is_written(text: str, expected: list[tuple[int, str]]):
    assert hits(text, Retired(words=("one_by_one",), write="sequential")) == expected


def test_definitions_are_found_where_python_defines_them():
    source = '"""may"""\nmay = 1\n\n\nclass A:\n    may: int\n\n    def may(self):\n        may = here.may\n        return may\n'

    found = hits(source, Retired(definitions=("may",), write="can"), path="package/module.py")

    assert found == [(2, "may"), (6, "may"), (8, "may")]


@pytest.mark.parametrize(("path", "expected"), [("a/storm.py", [(0, "storm")]), ("storm/a.py", [(0, "storm")]), ("a/storms.py", [])])
def test_paths_are_searched(path: str, expected: list[tuple[int, str]]):
    assert hits("", Retired(words=("storm",), write="run"), path=path) == expected
    assert hits("", Retired(definitions=("storm",), write="run"), path=path) == expected


def test_an_entry_may_hold_in_some_files_only():
    entry = Retired(words=("operator",), write="controller", only=("helm/*",))

    assert hits("operator", entry, path="helm/chart/values.yaml") == [(1, "operator")]
    assert hits("operator", entry, path="docs/page.md") == []


def test_an_allowance_covers_its_files_and_one_that_covers_nothing_is_listed():
    covers, idle = (Allowed(path=path, reason="a test") for path in ("docs/*", "gone.md"))
    entry = Retired(words=("bury",), write="finalize", allowed=(covers, idle))

    result = check({"docs/page.md": "bury", "page.md": "bury"}, Table(entries=(entry,)))

    assert [str(hit) for hit in result.hits] == ["page.md:1: bury: write finalize"]
    assert result.unused == (idle,)


def test_the_table_is_read():
    table = plain_words.parse_table("""
        [[retired]]
        words = ["bury"]
        write = "finalize"
        allowed = [{ path = "*.md", reason = "a test" }]
        [[excluded]]
        path = "old/*"
        reason = "a test"
    """)

    expected = Retired(words=("bury",), write="finalize", allowed=(Allowed(path="*.md", reason="a test"),))
    assert table == Table(entries=(expected,), excluded=(Allowed(path="old/*", reason="a test"),))


@pytest.mark.parametrize(
    "text", ["[[retired]]\nwords = []", "[[retired]]\nwrite = ''\nword = []", "[[retired]]\nwrite = ''\nallowed = [{ path = '' }]"]
)
def test_a_wrong_key_is_refused(text: str):
    with pytest.raises(TypeError):
        plain_words.parse_table(text)


def test_no_word_of_the_table_is_listed_twice():
    entries = plain_words.parse_table(plain_words.TABLE.read_text(encoding="utf-8")).entries
    words = [word for entry in entries for word in entry.words]

    assert sorted(words) == sorted(set(words))
    assert all(entry.words or entry.definitions for entry in entries)


def test_the_command_reads_tracked_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    for name in ("page.md", "untracked.md", "picture.png"):
        Path(name).write_text("one\nverdict", encoding="utf-8")
    for command in ("init", "add page.md picture.png"):
        subprocess.run(["git", *command.split()], check=True, capture_output=True)

    assert plain_words.main([]) == 1
    assert capsys.readouterr().out.splitlines() == ["page.md:2: verdict: write decision", "retired words: 1"]
    assert plain_words.main(["elsewhere"]) == 0
