"""One cell of a file: label, abstract, identity. All functions are pure."""

import hashlib
import re

from gregory.ml.text import clean

LONGEST_ID = 500

_RELEVANT = ("1", "1.0", "true", "t", "yes", "y", "include", "included", "i", "relevant")
_NOT_RELEVANT = ("0", "0.0", "false", "f", "no", "n", "exclude", "excluded", "e", "irrelevant", "not relevant")
_NOT_REVIEWED = ("", "na", "n/a", "nan", "none", "null", "not reviewed", "not seen", "unlabeled", "unlabelled")
LABELS: dict[str, bool | None] = {
    **dict.fromkeys(_RELEVANT, True),
    **dict.fromkeys(_NOT_RELEVANT, False),
    **dict.fromkeys(_NOT_REVIEWED),
}
# ASReview writes -1 for records that nobody saw.
_ASREVIEW_NOT_SEEN = ("-1", "-1.0")
LABEL_WORDS = "1 or 0, true or false, yes or no, include or exclude, relevant or irrelevant, or blank for not reviewed"

_NO_ABSTRACT = re.compile(
    r"\W*(na|n/a|nan|none|null|(no )?abstract( is| was)?( not)? available|no abstract|abstract not (available|provided|found))?\W*", re.I
)
_RAYYAN = re.compile(r"RAYYAN-INCLUSION:\s*\{(.*?)\}", re.S)
_RAYYAN_WORD = re.compile(r"=>\s*\"?(\w+)")
_ASREVIEW = re.compile(r"ASReview_(relevant|irrelevant|not_relevant|not_seen)")
_WHOLE_FLOAT = re.compile(r"([0-9]+)\.0+")
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\S+)", re.I)


class NoLabel(ValueError):
    """The value is no label."""


def label(value: str, *, relevant_value: str = "") -> bool | None:
    """relevant_value: the only word for relevant; every other text then means not relevant. Raises NoLabel."""
    word = value.strip().casefold()
    if relevant_value:
        return None if not word else word == relevant_value.strip().casefold()
    if word in _ASREVIEW_NOT_SEEN:
        return None
    if word not in LABELS:
        raise NoLabel(value)
    return LABELS[word]


def is_label_word(value: str) -> bool:
    """Whether the value is one of the words of `label`."""
    return value.strip().casefold() in LABELS


def label_of_notes(notes: str) -> bool | None:
    """The decision that Rayyan or ASReview wrote into the notes. Reviewers of Rayyan who disagree, or say maybe, have not decided."""
    if found := _RAYYAN.search(notes):
        words = {word.casefold() for word in _RAYYAN_WORD.findall(found[1])}
        return {frozenset({"included"}): True, frozenset({"excluded"}): False}.get(frozenset(words))
    if marks := set(_ASREVIEW.findall(notes)) - {"not_seen"}:
        return marks == {"relevant"} or (None if "relevant" in marks else False)
    return None


def label_of_reviews(reviews: str, subject: str) -> bool | None:
    """The label of a subject in a text as `Multiple Sclerosis: True; Asthma: False`. With one subject in the text, its label.

    Raises NoLabel if the text names several subjects, and not this one.
    """
    found = {}
    for part in filter(None, (part.strip() for part in re.split(r"[;,|\n]", reviews))):
        name, _, value = part.rpartition(":")
        found[re.sub(r"[\W_]+", "-", name.strip()).strip("-").casefold()] = label(value)
    if len(found) > 1 and subject.casefold() not in found:
        raise NoLabel(reviews)
    return found.get(subject.casefold(), next(iter(found.values()), None))


def abstract(value: str) -> str:
    """The abstract, or nothing if the text only says that there is none."""
    return "" if len(value) < 80 and _NO_ABSTRACT.fullmatch(value) else value


def identifier(value: str) -> str:
    """The identifier of a file. Spreadsheets write 9030 as 9030.0, and Covidence writes #9030."""
    text = value.strip().removeprefix("#")
    whole = _WHOLE_FLOAT.fullmatch(text)
    return whole[1] if whole else text


def doi(value: str) -> str:
    """The DOI in lower case without its address, or nothing."""
    found = _DOI.fullmatch(value.strip())
    # The address of an article has at most 2,000 characters.
    return found[1].casefold() if found and len(found[1]) <= LONGEST_ID else ""


def derived(*, doi: str, pmid: str, title: str, abstract: str) -> str:
    """The identifier of an article without one. Repeated imports give the same."""
    if doi:
        return f"doi:{doi}"
    if pmid:
        return f"pmid:{pmid}"
    text = f"{clean(title)}\n{clean(abstract)}".casefold()
    return f"text:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"
