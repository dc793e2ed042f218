"""The text preparation: `clean`, `abstract` and `join` are the only functions that make the text of an article.

Training and prediction must prepare the same article in the same way. So every change of the result needs a new TEXT_VERSION, and
the earlier versions stay. The articles file of a run and the manifest of a model hold the version. `require_version` compares it.
"""

import html
import re
from collections.abc import Sequence

from gregory.ml.errors import ArtifactError

# The version of a training. A model is asked with texts of its own version.
TEXT_VERSION = 2
TEXT_VERSIONS = (1, 2)
# Files from before the first stamp have no version. Only this one existed then.
UNSTAMPED_VERSION = 1

# A tag is a name, with quoted attributes or without attributes. "p <0.05 and n > 12" and "a<b and c>d" are prose and remain.
_TAG = re.compile(r"""</?[a-zA-Z][\w:.-]{0,50}(?:\s+[\w:.-]{1,50}\s*=\s*(?:"[^"<>]{0,500}"|'[^'<>]{0,500}'))*\s*/?>""")
# Control characters and every kind of blank become a space. The last blank of Unicode is U+3000. A table is several times faster
# than a pattern.
_BLANKS = {code: " " for code in range(0x3001) if chr(code).isspace() or code < 0x20 or code == 0x7F}
# The same table for the bytes of ASCII, which is faster again.
_ASCII_BLANKS = bytes(ord(_BLANKS.get(code, chr(code))) for code in range(128)) + bytes(range(128, 256))

# The citation in PubMed's feeds: "Drugs. 2021 Jun 4. doi: 10.1007/x. Online ahead of print. ABSTRACT". Both ends must be there, so that
# no abstract loses its beginning.
_CITATION = re.compile(r"[^.]{2,120}\. (?:19|20)\d\d[ ;:.].{0,300}?\b(NO )?ABSTRACT\b:? ?")


def clean(text: str | None) -> str:
    """Decode entities, remove mark-up, and replace control characters and runs of blanks by one space."""
    if not text:
        return ""
    text = _TAG.sub(" ", html.unescape(text))
    text = text.encode().translate(_ASCII_BLANKS).decode() if text.isascii() else text.translate(_BLANKS)
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip()


def abstract(text: str | None, *, version: int = TEXT_VERSION) -> str:
    """The abstract as `clean` gives it, from version 2 on without a leading citation. Empty if the citation says that there is none."""
    cleaned = clean(text)
    citation = _CITATION.match(cleaned) if version > 1 else None
    if citation is None:
        return cleaned
    return "" if citation[1] else cleaned[citation.end() :]


def join(title: str, summary: str) -> str:
    """The input of a classifier: title and summary, or only the title if the summary is empty."""
    return f"{title} {summary}".strip()


def require_version(found: int, accepted: Sequence[int] = TEXT_VERSIONS, *, subject: str, remedy: str) -> None:
    """Raise ArtifactError with the versions if `found` is not an accepted one. subject: the thing that has the version `found`."""
    if found not in accepted:
        raise ArtifactError(f"{subject} has text version {found}, and not {' or '.join(map(str, accepted))}: {remedy}")
