"""EndNote XML."""

from dataclasses import replace

import pytest

from tests.data.imports.conftest import LIMITS

RECORD = """\
<record><database name="My.enl">My.enl</database><rec-number>{number}</rec-number>
<titles><title><style face="normal">A trial of </style><style face="italic">green</style><style> tea</style></title></titles>
<electronic-resource-num><style>10.1000/TEA</style></electronic-resource-num><accession-num>{accession}</accession-num>
<abstract><style>Cups.</style></abstract><label>{label}</label></record>
"""


def endnote(*records: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8" ?><xml><records>{"".join(records)}</records></xml>'


def test_records_are_read_with_styled_texts(read):
    content = endnote(RECORD.format(number=1, accession="12345678", label="included"), RECORD.format(number=2, accession="WOS:1", label=""))
    found = read(content, "papers.xml")
    assert found.description == "EndNote XML"
    assert [(row.source_id, row.title, row.summary, row.label, row.link) for row in found.rows] == [
        ("1", "A trial of green tea", "Cups.", True, "https://pubmed.ncbi.nlm.nih.gov/12345678/"),
        ("2", "A trial of green tea", "Cups.", None, "https://doi.org/10.1000/tea"),
    ]


def test_a_cut_file_is_refused(refusal):
    (message,) = refusal(endnote(RECORD.format(number=1, accession="", label=""))[:-20], "papers.xml")
    assert message.startswith("papers.xml is not complete XML: ")


def test_xml_that_defines_entities_is_refused(refusal):
    content = endnote(RECORD.format(number=1, accession="", label="")).replace("<xml>", '<!DOCTYPE xml [<!ENTITY tea "green">]><xml>')
    assert refusal(content, "papers.xml") == (
        "papers.xml defines XML entities, which EndNote does not write (EntitiesForbidden(name='tea', system_id=None, public_id=None)); "
        "export it again",
    )


def test_a_text_beyond_the_limit_is_a_bad_row(read):
    found = read(endnote(RECORD.format(number=1, accession="", label="")), "papers.xml", limits=replace(LIMITS, cell=10))
    assert found.problems == ["record 1: a text with 20 characters, and the limit is 10; raise GREGORY_IMPORT_CELL if this is right"]


@pytest.mark.parametrize(("name", "cause"), [("tea", "unknown encoding: tea"), ("gb18030", "multi-byte encodings are not supported")])
def test_xml_in_another_encoding_is_refused(refusal, name, cause):
    content = endnote(RECORD.format(number=1, accession="", label="")).replace("UTF-8", name)
    assert refusal(content, "papers.xml") == (f"papers.xml names an encoding that cannot be read: {cause}; export it as UTF-8",)
