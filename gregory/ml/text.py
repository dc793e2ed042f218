"""The one function that makes text of an article.

Training and prediction must read an article alike. So `clean` and `join` are the only text preparation.
TEXT_VERSION changes when they do, and every manifest holds it.
"""

import html
import re

TEXT_VERSION = 1

# A tag is a name with quoted attributes or none: "p <0.05 and n > 12" and "a<b and c>d" are prose and stay.
_TAG = re.compile(r"""</?[a-zA-Z][\w:.-]{0,50}(?:\s+[\w:.-]{1,50}\s*=\s*(?:"[^"<>]{0,500}"|'[^'<>]{0,500}'))*\s*/?>""")
# Control characters and every kind of blank become a space; the last of them is U+3000. A table takes a fraction of a pattern's time.
_BLANKS = {code: " " for code in range(0x3001) if chr(code).isspace() or code < 0x20 or code == 0x7F}
# The same for ASCII, byte by byte, in a fraction of that again.
_ASCII_BLANKS = bytes(ord(_BLANKS.get(code, chr(code))) for code in range(128)) + bytes(range(128, 256))


def clean(text: str | None) -> str:
    """Entities decoded, mark-up removed, control characters and runs of blanks folded into one space."""
    if not text:
        return ""
    text = _TAG.sub(" ", html.unescape(text))
    text = text.encode().translate(_ASCII_BLANKS).decode() if text.isascii() else text.translate(_BLANKS)
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip()


def join(title: str, summary: str) -> str:
    """The text a classifier reads: title and summary, or the title alone where there is nothing to summarise."""
    return f"{title} {summary}".strip()
