"""The text preparation: `clean` and `join` are the only functions that make the text of an article.

Training and prediction must prepare the same article in the same way. So every change of the result needs a new TEXT_VERSION.
The articles file of a run and the manifest of a model hold the version. `require_version` compares it.
"""

import html
import re

from gregory.ml.errors import ArtifactError

TEXT_VERSION = 1
# Files from before the first stamp have no version. Only this one existed then.
UNSTAMPED_VERSION = 1

# A tag is a name, with quoted attributes or without attributes. "p <0.05 and n > 12" and "a<b and c>d" are prose and remain.
_TAG = re.compile(r"""</?[a-zA-Z][\w:.-]{0,50}(?:\s+[\w:.-]{1,50}\s*=\s*(?:"[^"<>]{0,500}"|'[^'<>]{0,500}'))*\s*/?>""")
# Control characters and every kind of blank become a space. The last blank of Unicode is U+3000. A table is several times faster
# than a pattern.
_BLANKS = {code: " " for code in range(0x3001) if chr(code).isspace() or code < 0x20 or code == 0x7F}
# The same table for the bytes of ASCII, which is faster again.
_ASCII_BLANKS = bytes(ord(_BLANKS.get(code, chr(code))) for code in range(128)) + bytes(range(128, 256))


def clean(text: str | None) -> str:
    """Decode entities, remove mark-up, and replace control characters and runs of blanks by one space."""
    if not text:
        return ""
    text = _TAG.sub(" ", html.unescape(text))
    text = text.encode().translate(_ASCII_BLANKS).decode() if text.isascii() else text.translate(_BLANKS)
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip()


def join(title: str, summary: str) -> str:
    """The input of a classifier: title and summary, or only the title if the summary is empty."""
    return f"{title} {summary}".strip()


def require_version(found: int, *, subject: str, remedy: str) -> None:
    """Raise ArtifactError with both versions if `found` is not TEXT_VERSION. subject: the thing that has the version `found`."""
    if found != TEXT_VERSION:
        raise ArtifactError(f"{subject} has text version {found}, this release has text version {TEXT_VERSION}: {remedy}")
