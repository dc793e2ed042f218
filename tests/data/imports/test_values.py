"""Labels, abstracts and identifiers of single cells."""

import pytest

from gregory.data.imports import values
from gregory.data.imports.values import NoLabel


@pytest.mark.parametrize("word", ["1", "1.0", "TRUE", "Yes", "y", "Include", "included", "I", "Relevant", " 1 "])
def test_words_for_relevant(word):
    assert values.label(word) is True


@pytest.mark.parametrize("word", ["0", "0.0", "false", "nO", "n", "exclude", "EXCLUDED", "e", "irrelevant", "not relevant"])
def test_words_for_not_relevant(word):
    assert values.label(word) is False


@pytest.mark.parametrize("word", ["", " ", "NA", "nan", "None", "not reviewed", "-1"])
def test_words_for_not_reviewed(word):
    assert values.label(word) is None


@pytest.mark.parametrize("word", ["maybe", "2", "10", "o"])
def test_other_words_are_no_labels(word):
    with pytest.raises(NoLabel):
        values.label(word)


def test_a_word_of_the_operator_for_relevant():
    assert [values.label(word, relevant_value="Keep") for word in ("keep", "drop", "")] == [True, False, None]


@pytest.mark.parametrize(
    ("notes", "label"),
    [
        ('x | RAYYAN-INCLUSION: {"Ada"=>"Included"} | RAYYAN-LABELS: tea', True),
        ('RAYYAN-INCLUSION: {"Ada"=>"Included", "Bo"=>"Included"}', True),
        ('RAYYAN-INCLUSION: {"Ada"=>"Excluded"} | RAYYAN-EXCLUSION-REASONS: cold', False),
        ('RAYYAN-INCLUSION: {"Ada"=>"Included", "Bo"=>"Excluded"}', None),
        ('RAYYAN-INCLUSION: {"Ada"=>"Maybe"}', None),
        ("ASReview_relevant", True),
        ("other ASReview_irrelevant", False),
        ("ASReview_not_relevant", False),
        ("ASReview_not_seen", None),
        ("a note", None),
    ],
)
def test_the_decisions_of_rayyan_and_asreview_in_notes(notes, label):
    assert values.label_of_notes(notes) is label


@pytest.mark.parametrize(
    ("reviews", "label"),
    [
        ("Multiple Sclerosis: True", True),
        ("Asthma: False; Multiple Sclerosis: True", True),
        ("Multiple Sclerosis: None", None),
        ("", None),
        ("Asthma: False", False),
    ],
)
def test_the_reviews_of_gregoryai(reviews, label):
    assert values.label_of_reviews(reviews, "multiple-sclerosis") is label


def test_several_reviews_without_the_subject_are_no_label():
    with pytest.raises(NoLabel):
        values.label_of_reviews("Asthma: False; Cough: True", "multiple-sclerosis")


@pytest.mark.parametrize(
    "text", ["", " ", "NA", "n/a", "nan", "[Abstract not available]", "No abstract available.", "None", "[No abstract]"]
)
def test_texts_that_are_no_abstract(text):
    assert values.abstract(text) == ""


@pytest.mark.parametrize("text", ["Na+ channels", "None of 12 patients", "Abstract: tea.", "N"])
def test_short_texts_that_are_abstracts(text):
    assert values.abstract(text) == text


@pytest.mark.parametrize(("text", "expected"), [(" 7 ", "7"), ("9030.0", "9030"), ("#123", "123"), ("W1.50", "W1.50"), ("1.5", "1.5")])
def test_identifiers(text, expected):
    assert values.identifier(text) == expected


@pytest.mark.parametrize("text", ["10.1000/XYZ", "doi: 10.1000/xyz", "https://doi.org/10.1000/xyz", "http://dx.doi.org/10.1000/xyz"])
def test_the_forms_of_a_doi(text):
    assert values.doi(text) == "10.1000/xyz"


def test_an_identifier_is_derived_from_doi_pmid_or_text():
    def derived(**changes: str) -> str:
        return values.derived(**{"doi": "", "pmid": "", "title": "Tea", "abstract": "Cups.", **changes})

    assert derived(doi="10.1/x", pmid="7") == "doi:10.1/x"
    assert derived(pmid="7") == "pmid:7"
    assert derived() == derived(title=" TEA ", abstract="<p>Cups.</p>") == "text:a3a6885e38fa342d2b0ac9ef"
    assert derived() != derived(abstract="Mugs.")
