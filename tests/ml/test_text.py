"""The text preparation: each rule of `clean`, and one golden value per text version."""

import hashlib
import re
import sys

import pytest

from gregory.ml.errors import ArtifactError
from gregory.ml.text import TEXT_VERSION, TEXT_VERSIONS, abstract, clean, join, require_version

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
CITED = [
    ("Drugs. 2021 Jun 4. doi: 10.1007/s1-w. Online ahead of print. ABSTRACT In the recent past", "In the recent past"),
    ("Cell Rep. 2021 Jun 1;35(9):109201. doi: 10.1016/j.c.2021.1. ABSTRACT The chronic", "The chronic"),
    ("Mo Med. 2021 Jul-Aug;118(4):334-339. ABSTRACT Despite progress", "Despite progress"),
    ("J Cell Immunol. 2021;3(2):68-77. doi: 10.3/i.3.080. ABSTRACT The pandemic", "The pandemic"),
    ("<p>Vaccines (Basel).\n2021 Jul 3;9(7):736. doi: 10.3390/v9. Print 2021 Sep.</p><p>ABSTRACT</p>BACKGROUND: MS", "BACKGROUND: MS"),
    ("Neurology. 2021 May 4;96(18):833. Epub 2021 Mar 23. NO ABSTRACT PMID: 34038382 | DOI: 10.1212/W", ""),
]
UNCITED = [
    "ABSTRACT Background In a previous study",
    "Abstract Background: Cognitive impairment. 2021 patients were seen.",
    "Relapses were counted. 2019 patients took part. The abstract of each study was read.",
    "Drugs. 2021 Jun 4. doi: 10.1007/s1-w. Patients with multiple sclerosis",
    f"We searched Embase. 2019 reports were found. {'Each was read twice. ' * 20}ABSTRACT screening followed",
]
# sha256 of the prepared samples, one for each text version that ever was.
GOLDEN = {
    1: "cb3bd096cc47db0c99bff8501d787f3304e7c941cb593e9a1b50b3adbee78eed",
    2: "865c0b3901a9dc867af1a0af6a02b321cae472c972a61d6d759ad70d17b2bb21",
}


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


@pytest.mark.parametrize(("raw", "expected"), CITED)
def test_the_citation_before_an_abstract_is_left_out(raw: str, expected: str) -> None:
    assert abstract(raw) == expected


@pytest.mark.parametrize("raw", [*UNCITED, *PROSE])
def test_an_abstract_without_a_citation_stays_whole(raw: str) -> None:
    assert abstract(raw) == raw


def test_version_1_keeps_the_citation() -> None:
    assert [abstract(raw, version=1) for raw, _ in CITED] == [clean(raw) for raw, _ in CITED]


@pytest.mark.parametrize("version", TEXT_VERSIONS)
def test_another_preparation_needs_another_text_version(version: int) -> None:
    every_character = "".join(f"a{chr(code)}" for code in range(0x3100))
    samples = [raw for raw, _ in CLEANED] + PROSE + [every_character]
    samples += [raw for raw, _ in CITED] + UNCITED if version > 1 else []
    prepared = "\n".join(join(clean(sample), abstract(sample, version=version)) for sample in samples)

    assert hashlib.sha256(prepared.encode()).hexdigest() == GOLDEN.get(version), (
        "the preparation changed: add a version in gregory/ml/text.py, keep the earlier ones, and add its golden value here"
    )


def test_a_training_uses_the_newest_version() -> None:
    assert max(TEXT_VERSIONS) == TEXT_VERSION


def test_another_version_is_refused_with_the_versions_and_the_remedy() -> None:
    require_version(1, subject="a file", remedy="make it again")
    with pytest.raises(ArtifactError) as caught:
        require_version(3, subject="a file", remedy="make it again")
    assert str(caught.value) == "a file has text version 3, and not 1 or 2: make it again"
