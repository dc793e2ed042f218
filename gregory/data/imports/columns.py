"""The names that screening tools and databases give to the columns of an export."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gregory.data.imports.errors import ImportRefused, shown

# The names of each column, best first. Case, blanks, hyphens and underscores do not count.
TITLE = ("title", "article title", "document title", "primary title", "ti", "t1")
ABSTRACT = ("abstract", "summary", "abstract note", "abstracts", "ab", "n2")
# Title and abstract in one text, as GregoryAI's files have it.
TEXT = ("text", "text processed", "terms")
ID = (
    "article id", "record id", "id", "covidence #", "key", "eid", "ut (unique wos id)", "ut (unique id)", "ut",
    "lens id", "pui", "embase accession id", "accession number", "accession no", "an", "pmid", "pubmed id",
)  # fmt: skip
DOI = ("doi", "di", "digital object identifier")
PMID = ("pmid", "pubmed id", "pm", "medline pmid")
LABEL = (
    "relevant", "label", "included", "label included", "asreview label", "final included", "final label", "is relevant", "include",
    "inclusion", "decision", "final decision", "screening decision",
)  # fmt: skip
# Texts in which Rayyan and ASReview keep their decisions.
NOTES = ("notes", "note", "n1")
# The reviews of an article, as GregoryAI's API writes them.
REVIEWS = ("article subject relevances",)
DATE = ("discovery date",)
# The names of columns that probably have labels.
_LIKE_LABELS = re.compile(r"label|relev|includ|exclud|decision|screening|eligib|inclusion|vote", re.I)
_NEEDED = "an import needs a column title, or text in place of title and abstract; --title-column names another one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names that the operator gives. Empty: find it."""

    title: str = ""
    abstract: str = ""
    id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The positions of the columns that are used, and of those that may have labels and are not used."""

    title: int | None
    abstract: int | None
    text: int | None
    id: int | None
    doi: int | None
    pmid: int | None
    label: int | None
    notes: int | None
    reviews: int | None
    date: int | None
    like_labels: tuple[int, ...]

    def used(self) -> list[int]:
        """The positions with a meaning."""
        found = (self.title, self.abstract, self.text, self.id, self.doi, self.pmid, self.label, self.notes, self.reviews, self.date)
        return sorted({position for position in found if position is not None})


def known(header: Sequence[str]) -> int:
    """The number of names with a meaning."""
    groups = (TITLE, ABSTRACT, TEXT, ID, DOI, PMID, LABEL, NOTES, REVIEWS, DATE)
    names = {_plain(name) for name in header}
    return sum(not names.isdisjoint(group) for group in groups)


def find(header: Sequence[str], names: Names) -> Columns:
    """Raises ImportRefused without a title, for a given name that does not exist, and for a repeated name that is used."""
    plain = [_plain(name) for name in header]

    def position(given: str, wanted: Sequence[str]) -> int | None:
        if given and _plain(given) not in plain:
            raise ImportRefused(f"there is no column {shown(given)}; the columns are {', '.join(name for name in header if name)}")
        return next((plain.index(name) for name in ((_plain(given),) if given else wanted) if name in plain), None)

    title, abstract, text = position(names.title, TITLE), position(names.abstract, ABSTRACT), position("", TEXT)
    if title is None and text is None:
        raise ImportRefused(f"the columns are {', '.join(name for name in header if name) or 'missing'}; {_NEEDED}")
    label = position(names.label, LABEL)
    columns = Columns(
        title=title,
        abstract=abstract,
        text=text if title is None else None,
        id=position(names.id, ID),
        doi=position("", DOI),
        pmid=position("", PMID),
        label=label,
        notes=position("", NOTES),
        reviews=position("", REVIEWS),
        date=position("", DATE),
        like_labels=tuple(place for place, name in enumerate(plain) if _LIKE_LABELS.search(name)),
    )
    repeated = sorted({header[place] for place in columns.used() if plain.count(plain[place]) > 1})
    if repeated:
        raise ImportRefused(f"more than one column has the name {', '.join(repeated)}; rename one of them")
    return columns


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
