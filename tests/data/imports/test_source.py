"""Formats and encodings: what is read, and what is refused by its name."""

import codecs
import gzip
import io
import os
import random
import zipfile

import pytest

from gregory.data.imports.errors import ImportRefused
from gregory.data.imports.source import identify

TABLE = "id,title,abstract\n1,Sjögren’s tea,Cups – of tea\n"
MARKS = {"utf-8-sig": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as files:
        for name in names:
            files.writestr(name, "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "description"),
    [
        (TABLE.encode(), "UTF-8"),
        (TABLE.encode("utf-8-sig"), "UTF-8"),
        (TABLE.encode("cp1252"), "Windows-1252"),
        (codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le"), "UTF-16"),
        (codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"), "UTF-16"),
        (TABLE.encode("utf-16-le"), "UTF-16"),
        (TABLE.encode("utf-16-be"), "UTF-16"),
    ],
)
def test_each_encoding_gives_the_same_text(read, content, description):
    found = read(content)
    assert found.description == f"CSV with commas, {description}"
    assert [(row.title, row.summary) for row in found.rows] == [("Sjögren’s tea", "Cups – of tea")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "papers.csv is empty"),
        (b"\n \n", "papers.csv is empty"),
        (b"%PDF-1.7\n", "papers.csv is a PDF; export RIS, CSV or .xlsx"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1",
            "papers.csv is an Excel file of the old format .xls or another Office file; save it as .xlsx or CSV",
        ),
        (gzip.compress(b"id,title\n", mtime=0), "papers.csv is a gzip archive; unpack it first"),
        (archive("word/document.xml"), "papers.csv is a Word document; export RIS, CSV or .xlsx"),
        (archive("content.xml", "mimetype"), "papers.csv is an OpenDocument file; save it as .xlsx or CSV"),
        (archive("project.json"), "papers.csv is a project file of ASReview; export RIS, CSV or .xlsx in ASReview"),
        (archive("papers.ris"), "papers.csv is a zip archive; unpack it first"),
        (archive("xl/workbook.xml")[:-10], "papers.csv is a damaged zip archive or workbook: File is not a zip file; save it again"),
        (b"\n@article{tea,\n title={Tea}}\n", "papers.csv is BibTeX; export RIS, CSV or .xlsx"),
        (b"% Encoding: UTF-8\n\n% x\n@Article{tea,\n title={Tea}}\n", "papers.csv is BibTeX; export RIS, CSV or .xlsx"),
        (codecs.BOM_UTF32_LE + TABLE.encode("utf-32-le"), "papers.csv is UTF-32 text; save it as UTF-8"),
        (codecs.BOM_UTF32_BE + TABLE.encode("utf-32-be"), "papers.csv is UTF-32 text; save it as UTF-8"),
        (b"<!DOCTYPE html><html>", "papers.csv is an HTML page; export RIS, CSV or .xlsx"),
        (b'{"title": "Tea"}', "papers.csv is JSON; export CSV"),
        (b"%0 Journal Article\n%T Tea\n", "papers.csv is EndNote's Refer format; export RIS or EndNote XML"),
        (
            b'<?xml version="1.0"?><PubmedArticleSet></PubmedArticleSet>',
            "papers.csv is XML of PubMed; save it in the format PubMed (.nbib) or as CSV",
        ),
        (b'<?xml version="1.0"?><feed></feed>', "papers.csv is XML, but not of EndNote; export RIS, CSV or .xlsx"),
        (
            b"id,Caf\xe9,title\n1,Caf\xc3\xa9,Tea\n",
            "papers.csv has the byte 0xe9 in its header, which is not UTF-8; save the file as UTF-8",
        ),
        (
            b"id,title\n1,Caf\xe9\n2,\x81\n",
            "papers.csv is not a text file that can be read: byte 0x81 at offset 18 (line 3) is not UTF-8; save it as UTF-8",
        ),
        (
            codecs.BOM_UTF8 + b"id,title\n1,Caf\xe9\n",
            "papers.csv is not a text file that can be read: byte 0xe9 at offset 17 (line 2) is not UTF-8; save it as UTF-8",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(refusal, content, message):
    assert refusal(content) == (message,)


def test_a_byte_that_is_not_utf8_makes_one_bad_row_of_a_file_in_utf8(read):
    found = read("id,title\n1,Sjögren’s tea\n2,Caf".encode() + b"\xe9\n3,Tea\n")

    assert (found.description, [row.title for row in found.rows]) == ("CSV with commas, UTF-8", ["Sjögren’s tea", "Tea"])
    remedy = "correct the row, save the file as UTF-8, or import it with --encoding windows-1252"
    assert found.problems == [f"line 3: the byte 0xe9 is not UTF-8; {remedy}"]


def test_the_operator_names_the_encoding(read, refusal):
    """In this text of Windows-1252 the last letter and the quote are a character of UTF-8."""
    text = "id,title\n1,„Spaß“\n"
    assert read(text.encode("cp1252"), encoding="windows-1252").rows[0].title == "„Spaß“"
    assert refusal(text.encode("cp1252"), encoding="utf-8") == (
        "papers.csv is not UTF-8: byte 0x84 at offset 11 (line 2); correct it, or leave out --encoding utf-8",
    )
    assert refusal(archive("xl/workbook.xml"), encoding="utf-8") == (
        "papers.csv is Excel workbook, which names its own encoding; leave out --encoding",
    )


def test_random_bytes_are_refused(refusal):
    (message,) = refusal(random.Random(69).randbytes(3_000_000))
    assert message.startswith("papers.csv is not a text file that can be read: byte 0x")


def test_a_bad_byte_after_the_first_megabyte_is_found_in_its_line(refusal):
    lines = "id,title\n" + "".join(f"{number},Tea é\n" for number in range(150_000))
    content = codecs.BOM_UTF8 + lines.encode() + b"9,\xff\n"
    (message,) = refusal(content)
    assert message == (
        f"papers.csv is not a text file that can be read: byte 0xff at offset {len(content) - 2} (line 150002) is not UTF-8; "
        "save it as UTF-8"
    )


@pytest.mark.parametrize("line", ["PT was prolonged in half of them.", "FN rate was 3 percent", "TY  - JOUR", "PMID- 17"])
@pytest.mark.parametrize(
    "header", ["id,title,abstract,relevant", '"id","title","abstract","relevant"', "sep=,\nid,title,abstract,relevant"]
)
def test_a_cell_with_a_line_of_another_format_leaves_a_table_a_table(read, header, line):
    found = read(f'{header}\n1,Tea,"Cups.\n{line}\nER",1\n2,Coffee,Beans,0\n'.encode())

    assert found.description == "CSV with commas, UTF-8"
    assert [(row.title, row.label) for row in found.rows] == [("Tea", True), ("Coffee", False)]


def test_lines_about_the_source_may_precede_the_entries(read):
    found = read(b"Provider: Example Publishing, Inc.\nDatabase: abstract, full text\n\nTY  - JOUR\nTI  - Tea\nER  - \n")

    assert [row.title for row in found.rows] == ["Tea"]
    assert list(found.remarks) == ["the text before the first entry is not read; it begins in line 1"]


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.csv")

    with pytest.raises(ImportRefused, match=r"a\.csv is a pipe or a device; save its content as a file$"):
        identify(tmp_path / "a.csv")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path, reason in ((tmp_path / "none.csv", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ImportRefused) as caught:
            identify(path)
        assert str(caught.value) == f"{path} cannot be read: {reason}"
