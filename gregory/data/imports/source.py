"""The format and the encoding of a file, found in its first bytes and in a fast pass over all of them."""

import codecs
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gregory.data.imports.columns import known
from gregory.data.imports.errors import ImportRefused

HEAD = 64 * 1024
_CHUNK = 1024 * 1024
# The encodings that an operator can name. A byte that is not valid becomes a surrogate, which `undecoded` finds.
ENCODINGS = {"utf-8": "utf-8-sig", "utf-16": "utf-16", "windows-1252": "cp1252"}
ERRORS = "surrogateescape"
# Those of tables, and the beginning of a first line that names another one.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SEPARATOR_MARK = "sep="


class Format(StrEnum):
    """The formats that can be read."""

    DELIMITED = "CSV"
    WORKBOOK = "Excel workbook"
    RIS = "RIS"
    NBIB = "PubMed format"
    WEB_OF_SCIENCE = "Web of Science tagged text"
    ENDNOTE = "EndNote XML"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file, its format, its encoding as Python names it, and its first characters. Binary formats have neither."""

    path: Path
    format: Format
    encoding: str = ""
    head: str = ""


_EXPORT = "export RIS, CSV or .xlsx"
# The first bytes of formats that are not text.
_BINARY = {
    b"\xd0\xcf\x11\xe0": "an Excel file of the old format .xls or another Office file; save it as .xlsx or CSV",
    b"%PDF": f"a PDF; {_EXPORT}",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"SQLite format 3": f"an SQLite database; {_EXPORT}",
    b"{\\rtf": f"a Rich Text document; {_EXPORT}",
    codecs.BOM_UTF32_LE: "UTF-32 text; save it as UTF-8",
    codecs.BOM_UTF32_BE: "UTF-32 text; save it as UTF-8",
}
# Files inside a zip archive, and what it then is.
_ARCHIVES = {
    "word/document.xml": "a Word document; export RIS, CSV or .xlsx",
    "content.xml": "an OpenDocument file; save it as .xlsx or CSV",
    "project.json": f"a project file of ASReview; {_EXPORT} in ASReview",
}
# The first line with text, of formats that are text and cannot be read.
_OTHER_TEXTS = (
    # JabRef begins with a comment.
    (re.compile(r"\s*(?:%[^\n]*\s+)*@\w+\s*[{(]"), f"BibTeX; {_EXPORT}"),
    (re.compile(r"\s*(<!doctype html|<html)", re.I), f"an HTML page; {_EXPORT}"),
    (re.compile(r"\s*[{\[]"), "JSON; export CSV"),
    (re.compile(r"%[0-9A-Z] "), "EndNote's Refer format; export RIS or EndNote XML"),
)
_TAGGED = (
    (re.compile(r"^TY  ?- ", re.M), Format.RIS),
    (re.compile(r"^PMID- ", re.M), Format.NBIB),
    (re.compile(r"^(FN|PT) [^\t\n]*$", re.M), Format.WEB_OF_SCIENCE),
)
# How `surrogateescape` keeps the bytes that are not valid, and the other characters beyond ASCII.
_UNDECODED = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f\udc80-\udcff]")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def identify(path: Path, encoding: str = "") -> Source:
    """Raises ImportRefused, with the name of the format, if the file cannot be read. encoding: one of ENCODINGS; empty: find it."""
    try:
        if not path.is_file() and path.exists() and not path.is_dir():
            # Its bytes are read several times, and a pipe has them once.
            raise ImportRefused(f"{path} is a pipe or a device; save its content as a file")
        with path.open("rb") as stream:
            head = stream.read(HEAD)
        source = _source(path, head, encoding)
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    if encoding and not source.encoding:
        raise ImportRefused(f"{path} is {source.format}, which names its own encoding; leave out --encoding")
    return source


def _source(path: Path, head: bytes, encoding: str) -> Source:
    if not head.strip():
        raise ImportRefused(f"{path} is empty")
    if head.startswith(b"PK\x03\x04"):
        return Source(path=path, format=_archive(path))
    for signature, meaning in _BINARY.items():
        if head.startswith(signature):
            raise ImportRefused(f"{path} is {meaning}")
    return _text(path, head, _named(path, encoding))


def _named(path: Path, encoding: str) -> str:
    """The encoding of the operator as Python names it. Raises ImportRefused with the first byte of another one."""
    wanted = ENCODINGS.get(encoding, "")
    if wanted and (problem := _first_error(path, encoding if encoding == "utf-8" else wanted)):
        raise ImportRefused(f"{path} is not {encoding_name(wanted)}: {problem}; correct it, or leave out --encoding {encoding}")
    return wanted


def encoding_name(encoding: str) -> str:
    """The name of an encoding for people."""
    return {"cp1252": "Windows-1252"}.get(encoding, "UTF-16" if "16" in encoding else "UTF-8")


def _archive(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile as error:
        raise ImportRefused(f"{path} is a damaged zip archive or workbook: {error}; save it again") from error
    if "xl/workbook.xml" in names:
        return Format.WORKBOOK
    raise ImportRefused(f"{path} is {next((text for name, text in _ARCHIVES.items() if name in names), 'a zip archive; unpack it first')}")


def _text(path: Path, head: bytes, encoding: str) -> Source:
    encoding = encoding or _encoding(path, head)
    text = codecs.getincrementaldecoder(encoding)(errors=ERRORS).decode(head)
    for pattern, meaning in _OTHER_TEXTS:
        if pattern.match(text):
            raise ImportRefused(f"{path} is {meaning}")
    if re.match(r"\s*<\?xml|\s*<(xml|records|record)\b", text):
        return Source(path=path, format=_xml(path, text))
    # A cell of a table may have a line that begins like one of these formats.
    form = Format.DELIMITED if _begins_with_header(text) else next((form for tag, form in _TAGGED if tag.search(text)), Format.DELIMITED)
    return Source(path=path, format=form, encoding=encoding, head=text)


def _begins_with_header(text: str) -> bool:
    """Whether the first line with text has a separator and a name of a column. Other files may begin with lines about their source."""
    first = next((line for line in text.splitlines() if line.strip() and not line.lower().startswith(SEPARATOR_MARK)), "")
    cells = [[cell.strip("\ufeff\"' ") for cell in first.split(separator)] for separator in SEPARATORS if separator in first]
    return any(known(names) for names in cells) and not any(tag.match(first) for tag, _ in _TAGGED)


def _xml(path: Path, head: str) -> Format:
    if re.search(r"<records?\b", head):
        return Format.ENDNOTE
    if "<PubmedArticleSet" in head or "<PubmedArticle>" in head:
        raise ImportRefused(f"{path} is XML of PubMed; save it in the format PubMed (.nbib) or as CSV")
    raise ImportRefused(f"{path} is XML, but not of EndNote; {_EXPORT}")


def _encoding(path: Path, head: bytes) -> str:
    """UTF-8 or UTF-16 if the whole file is valid, else Windows-1252. A statistical guess would differ from file to file.

    A file with valid sequences of UTF-8 and with other bytes is UTF-8 with damage, and its reader names the damaged records. Text in
    Windows-1252 has such a sequence by accident only.
    """
    marked = next((name for mark, name in _BOMS if head.startswith(mark)), None) or _unmarked_utf16(head)
    wanted = marked or "utf-8"
    # The decoder of utf-8-sig counts from the end of the mark.
    problem = _first_error(path, "utf-8" if wanted == "utf-8-sig" else wanted)
    if problem is None:
        return wanted
    if marked is None and b"\0" not in head and _has_utf8(path):
        return wanted
    if marked is None and b"\0" not in head and (worse := _first_error(path, "cp1252")) is None:
        return "cp1252"
    position = problem if marked or b"\0" in head else worse
    raise ImportRefused(f"{path} is not a text file that can be read: {position} is not {encoding_name(wanted)}; save it as UTF-8")


def _has_utf8(path: Path) -> bool:
    """Whether at least a tenth of the characters beyond ASCII are valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    valid = others = 0
    for chunk, last in _chunks(path):
        text = decoder.decode(chunk, final=last)
        others += len(_UNDECODED.findall(text))
        valid += len(_BEYOND_ASCII.findall(text))
    return valid * 10 >= others


def undecoded(text: str) -> str:
    """The first byte of a text that is not of the encoding of its file, as 0xe9. Empty if there is none."""
    found = _UNDECODED.search(text)
    return f"0x{ord(found[0]) - 0xDC00:02x}" if found else ""


def _unmarked_utf16(head: bytes) -> str | None:
    # Of Latin text in UTF-16 every second byte is zero.
    if len(head) >= 4:
        even, odd = head[::2].count(0) / len(head[::2]), head[1::2].count(0) / len(head[1::2])
        if odd > 0.4 and even < 0.1:
            return "utf-16-le"
        if even > 0.4 and odd < 0.1:
            return "utf-16-be"
    return None


def _first_error(path: Path, encoding: str) -> str | None:
    """The place of the first byte that is not valid, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    before = lines = 0
    for chunk, last in _chunks(path):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=last)
        except UnicodeDecodeError as error:
            start = max(0, error.start - pending)
            line = lines + chunk.count(b"\n", 0, start) + 1
            return f"byte 0x{error.object[error.start]:02x} at offset {before + error.start - pending} (line {line})"
        before += len(chunk)
        lines += chunk.count(b"\n")
    return None


def _chunks(path: Path) -> Iterator[tuple[bytes, bool]]:
    with path.open("rb") as stream:
        chunk = stream.read(_CHUNK)
        while chunk:
            following = stream.read(_CHUNK)
            yield chunk, not following
            chunk = following
