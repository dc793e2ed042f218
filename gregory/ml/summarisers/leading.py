"""The demo bundle's summariser: whole leading sentences up to a budget of words. No model, no library.

Sentences end at ". ", "! " or "? " before anything but a lower-case letter, unless the word before the full stop is an
abbreviation. Where English is ambiguous ("vitamin D. We", "J. Smith") the sentences stay joined: that moves the cut by
one sentence, while a wrong cut would leave half of one.
"""

import re
from collections.abc import Iterator, Sequence

# Far above the longest words of prose: what is beyond words x this many characters cannot belong to the summary, and a
# table or sequence of megabytes pasted as an abstract costs no more than a real one.
CHARACTERS_PER_WORD = 64

_END = re.compile(r"[.!?][\"'”’)\]]*\s+(?=[^a-z\s])")
# Initials, dotted letters (e.g, i.v, U.S) and what journals shorten. "ms" is missing on purpose: MS ends many a sentence here.
_ABBREVIATION = re.compile(r"[a-z](\.[a-z])*|al|approx|ca|cf|dr|eqs?|figs?|incl|nos?|pp|prof|refs?|resp|spp?|st|vol|vs", re.IGNORECASE)


class LeadingSentences:
    """Keeps the first sentences of a text, always at least one; a first sentence over the budget is cut at it."""

    def __init__(self, *, words: int) -> None:
        self._words = words

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
