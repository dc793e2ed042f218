"""The text preparation: each rule of `clean`, and one golden value per text version."""

import hashlib
import re
import sys

import pytest

from gregory.ml import text
from gregory.ml.errors import ArtifactError
from gregory.ml.text import TEXT_VERSION, clean, join, require_version

CLEANED = [
    (None, ""),
    ("", ""),
    (" \n\t ", ""),
    ("plain text", "plain text"),
    ("<p>One</p><p>Two</p>", "One Two"),
    ('<a href="https://example.org/x?a=1&amp;b=2">link</a> text', "link text"),
    ("line<br/>break", "line break"),
    ("<jats:title>Background</jats:title>Text", "Background Text"),
    ("caf&eacute; &amp; bar", "café & bar"),
    ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
    ("5&nbsp;mg", "5 mg"),
    ("one\r\ntwo\r\rthree", "one two three"),
    ("nul\x00byte", "nul byte"),
    ("bell\x07 and\x7fdelete", "bell and delete"),
    ("line\u2028separator", "line separator"),
    ("p &lt;0.05 and n &gt; 12", "p <0.05 and n > 12"),
]
PROSE = [
    "p <0.05 and n > 12",
    "P</=.03 and >/= 4",
    "a < b",
    "β-amyloid, 3 ± 0.5 µg",
    "1 <or= 2",
    "responders a<b and c>d were included",
]
# sha256 of the prepared samples, one for each text version that ever was.
GOLDEN = {1: "cb3bd096cc47db0c99bff8501d787f3304e7c941cb593e9a1b50b3adbee78eed"}


@pytest.mark.parametrize(("raw", "expected"), CLEANED)
def test_clean(raw: str | None, expected: str) -> None:
    assert clean(raw) == expected


@pytest.mark.parametrize("prose", PROSE)
def test_clean_does_not_change_prose(prose: str) -> None:
    assert clean(prose) == prose


def test_every_blank_and_control_character_becomes_one_space() -> None:
    folded = [code for code in range(sys.maxunicode + 1) if clean(f"a{chr(code)}{chr(code)} b") == "a b"]

    assert folded == [code for code in range(sys.maxunicode + 1) if re.match(r"[\s\x00-\x1f\x7f]", chr(code))]


@pytest.mark.parametrize(("summary", "expected"), [("Its results.", "Title Its results."), ("", "Title")])
def test_join_without_a_summary_is_the_title(summary: str, expected: str) -> None:
    assert join("Title", summary) == expected


def test_another_preparation_needs_another_text_version() -> None:
    every_character = "".join(f"a{chr(code)}" for code in range(0x3100))
    samples = [raw for raw, _ in CLEANED] + PROSE + [every_character]
    prepared = "\n".join(join(clean(sample), clean(sample)) for sample in samples)

    assert hashlib.sha256(prepared.encode()).hexdigest() == GOLDEN.get(TEXT_VERSION), (
        "the preparation changed: raise TEXT_VERSION in gregory/ml/text.py and add the golden value of the new version here"
    )


def test_another_version_is_refused_with_both_versions_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    require_version(TEXT_VERSION, subject="a file", remedy="make it again")
    monkeypatch.setattr(text, "TEXT_VERSION", 3)
    with pytest.raises(ArtifactError) as caught:
        require_version(2, subject="a file", remedy="make it again")
    assert str(caught.value) == "a file has text version 2, this release has text version 3: make it again"
