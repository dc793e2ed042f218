"""The tables of reasons in the documents."""

import pytest

from tools import reasons_table


@pytest.mark.parametrize("document", reasons_table.documents())
def test_documents_have_the_generated_tables_of_reasons(document: str):
    assert (reasons_table.DOCS / document).read_text(encoding="utf-8") == reasons_table.generated(document), (
        "run: python -m tools.reasons_table"
    )
