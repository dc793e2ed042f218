"""The summariser of the demo bundle: complete leading sentences up to a number of words. No model, no library.

A sentence ends at ". ", "! " or "? ", if no lower-case letter follows and the word before the full stop is not an abbreviation.
In ambiguous cases ("vitamin D. We", "J. Smith") the sentences remain joined. This moves the end of the summary by one sentence,
but a wrong end would leave half a sentence.
"""

import re
from collections.abc import Iterator, Sequence

# More characters than any word of prose has. Text beyond words x this number is not read, so a table of megabytes in the place of
# an abstract takes no more time than a real abstract.
CHARACTERS_PER_WORD = 64

_END = re.compile(r"[.!?][\"'”’)\]]*\s+(?=[^a-z\s])")
# Initials, dotted letters (e.g, i.v, U.S) and abbreviations of scientific texts. "ms" is not in the list, because MS ends many sentences.
_ABBREVIATION = re.compile(r"[a-z](\.[a-z])*|al|approx|ca|cf|dr|eqs?|figs?|incl|nos?|pp|prof|refs?|resp|spp?|st|vol|vs", re.IGNORECASE)


class LeadingSentences:
    """Returns the first sentences of a text, at least one. A first sentence above the limit is cut at the limit."""

    at_once = 1

    def __init__(self, *, words: int) -> None:
        self._words = words

    @property
    def compute(self) -> dict[str, str]:
        """Empty: every machine cuts at the same sentence."""
        return {}

    def summarise(self, texts: Sequence[str]) -> list[str]:
        """One summary per text, in the same order."""
        return [self._lead(text) for text in texts]

    def _lead(self, text: str) -> str:
        kept: list[str] = []
        for sentence in sentences(text.lstrip()[: self._words * CHARACTERS_PER_WORD]):
            words = sentence.split()
            if len(kept) + len(words) > self._words:
                return " ".join(kept or words[: self._words])
            kept += words
        return " ".join(kept)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text in order, without the blanks between them."""
    start = 0
    for end in _END.finditer(text):
        if text[end.start()] == "." and _is_abbreviation(text[start : end.start()]):
            continue
        yield text[start : end.end()].rstrip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].rstrip()


def _is_abbreviation(before: str) -> bool:
    word = before.rsplit(maxsplit=1)[-1].lstrip("\"'“‘([") if before.strip() else ""
    return _ABBREVIATION.fullmatch(word) is not None
