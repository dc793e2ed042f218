"""The language of the repository: no retired words, and few words that leave the actor unnamed."""

import pytest

from tools import plain_words, prose
from tools.installation import REPOSITORY


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(REPOSITORY)


def test_no_retired_word_is_used_and_every_allowance_is_needed():
    table = plain_words.parse_table(plain_words.TABLE.read_text(encoding="utf-8"))

    result = plain_words.check(plain_words.readable_files([], table), table)

    assert [str(hit) for hit in result.hits] == []
    assert result.unused == ()


def test_documents_and_docstrings_are_within_the_limits_of_prose(capsys: pytest.CaptureFixture[str]):
    assert prose.main(["--check", "--worst", "5"]) == 0, capsys.readouterr().out
