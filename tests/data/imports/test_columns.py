"""Which columns are used: by their names, by the operator's word, and never labels that nobody noticed."""

import pytest

from gregory.data.imports.columns import Names


def test_a_title_is_needed(refusal):
    assert refusal("id,name\n1,Tea\n") == (
        "the columns are id, name; an import needs a column title, or text in place of title and abstract; "
        "--title-column names another one",
    )


def test_a_repeated_column_is_refused_if_it_is_used(read, refusal):
    assert refusal("id,title,Title,abstract\n1,a,b,c\n") == ("more than one column has the name title; rename one of them",)
    assert len(read("id,title,abstract,keyword,keyword\n1,a,b,c,d\n").rows) == 1


def test_the_operator_names_the_columns(read):
    names = Names(title="Name", abstract="long text", id="Nr", label="my decision")
    found = read("nr,NAME,title,Long_Text,my-decision\n7,Tea,x,Cups.,keep\n8,Milk,x,,drop\n", names=names, relevant_value="keep")
    assert [(row.source_id, row.title, row.summary, row.label) for row in found.rows] == [
        ("7", "Tea", "Cups.", True),
        ("8", "Milk", "", False),
    ]
    assert list(found.used) == ["nr", "NAME", "Long_Text", "my-decision"]


def test_a_value_of_relevant_articles_that_no_row_has_is_refused(read, refusal):
    """All labels would be negative, and replace those of an earlier import."""
    content = "id,title,decision\n1,a,keep\n2,b,Drop\n3,c,drop\n4,d,\n"
    assert refusal(content, relevant_value="kepe") == ("--relevant-value 'kepe': no row has it; the column has 'keep', 'Drop', 'drop'",)
    assert [row.label for row in read(content, relevant_value=" KEEP").rows] == [True, False, False, None]
    many = "id,title,decision\n" + "".join(f"{number},a{number},v{number}\n" for number in range(20))
    (message,) = refusal(many, relevant_value="kepe")
    assert message.endswith("'v8', 'v9', ...")
    assert refusal("id,title\n1,a\n", relevant_value="keep") == (
        "--relevant-value 'keep' needs a column of labels; --label-column names it",
    )


def test_a_named_column_that_does_not_exist_is_refused(refusal):
    assert refusal("id,title,abstract\n1,a,b\n", names=Names(label="decission")) == (
        "there is no column 'decission'; the columns are id, title, abstract",
    )


def test_a_column_that_looks_like_labels_is_never_ignored(refusal):
    assert refusal("id,title,abstract,relevent\n1,a,b,1\n2,c,d,0\n") == (
        "the column 'relevent' looks like labels (0, 1) and is not used; "
        "add --label-column 'relevent', or --without-labels to import without them",
    )


@pytest.mark.parametrize(("column", "value"), [("exclusion_reason", "wrong population"), ("screening_note", ""), ("open_access", "1")])
def test_other_columns_do_not_look_like_labels(read, column, value):
    assert read(f"id,title,abstract,{column}\n1,a,b,{value}\n").rows[0].label is None


def test_an_import_without_labels_on_request(read):
    assert [row.label for row in read("id,title,relevent\n1,a,1\n", without_labels=True).rows] == [None]
    assert [row.label for row in read("id,title,relevant\n1,a,maybe\n", without_labels=True).rows] == [None]


def test_of_two_label_columns_one_is_used_and_the_other_is_named(read):
    found = read("id,title,abstract,label,relevant\n1,a,b,0,1\n")
    assert found.rows[0].label is True
    assert found.remarks == ["the labels are those of the column relevant, and not of label"]


def test_a_table_without_abstracts_says_so(read):
    assert read("id,title\n1,a\n").remarks == ["no column has abstracts, so titles are the only texts; --abstract-column names one"]
