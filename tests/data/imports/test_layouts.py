"""The columns of each tool, as its exports have them, with invented content."""

import csv
import io

import pytest

TITLES = ["A trial of tea", "A survey of coffee"]
ABSTRACTS = ["Cups were counted.", "Mugs were counted."]
IDS = ["1", "2"]
# Name of the tool: header, two records with {title} and {abstract}, identifiers, labels.
LAYOUTS = {
    "ASReview": (
        "record_id,title,abstract,authors,doi,included,asreview_ranking",
        ["1,{title},{abstract},Doe,10.1000/a,1,1", "2,{title},{abstract},Doe,10.1000/b,0,2"],
        IDS,
        [True, False],
    ),
    "ASReview 2": (
        "title,abstract,doi,record_id,asreview_label,asreview_time,asreview_note",
        ["{title},{abstract},,1,1,2026-01-01 10:00:00,", "{title},{abstract},,2,,,"],
        IDS,
        [True, None],
    ),
    "SYNERGY": (
        "doi,title,abstract,label_included,openalex_id",
        ["https://doi.org/10.1000/a,{title},{abstract},1,https://openalex.org/W1", "https://doi.org/10.1000/b,{title},{abstract},0,"],
        ["doi:10.1000/a", "doi:10.1000/b"],
        [True, False],
    ),
    "a data set with the final decision": (
        "pmid,title,abstract,label_abstract_screening,final_included",
        ["11,{title},{abstract},1,0", "12,{title},{abstract},0,0"],
        ["11", "12"],
        [False, False],
    ),
    "Rayyan": (
        "key,title,year,month,day,journal,issn,volume,issue,pages,authors,url,language,publisher,location,abstract,notes,doi,keywords",
        [
            'rayyan-1,{title},2024,1,,J,,,,,Doe,,en,,,{abstract},"RAYYAN-INCLUSION: {{""Ada""=>""Included""}} | RAYYAN-LABELS: tea",,',
            'rayyan-2,{title},2024,1,,J,,,,,Doe,,en,,,{abstract},"RAYYAN-INCLUSION: {{""Ada""=>""Excluded""}}",,',
        ],
        ["rayyan-1", "rayyan-2"],
        [True, False],
    ),
    "Covidence": (
        "Title,Authors,Abstract,Published Year,Journal,Volume,Issue,Pages,Accession Number,DOI,Ref,Covidence #,Study,Notes,Tags",
        ["{title},Doe,{abstract},2024,J,1,,,,10.1000/a,,#1,Doe 2024,,", "{title},Doe,{abstract},2024,J,1,,,,,,#2,Doe 2024,,"],
        IDS,
        [None, None],
    ),
    "Zotero": (
        "Key,Item Type,Publication Year,Author,Title,Publication Title,ISBN,ISSN,DOI,Url,Abstract Note,Date,Notes,Manual Tags",
        [
            "AB12,journalArticle,2024,Doe,{title},J,,,10.1000/a,,{abstract},2024,,",
            "CD34,journalArticle,2024,Doe,{title},J,,,,,{abstract},2024,,",
        ],
        ["AB12", "CD34"],
        [None, None],
    ),
    "Scopus": (
        "Authors,Author full names,Title,Year,Source title,DOI,Link,Abstract,Document Type,EID",
        [
            "Doe,Doe,{title},2024,J,10.1000/a,https://x,{abstract},Article,2-s2.0-1",
            "Doe,Doe,{title},2024,J,,https://x,{abstract},Article,2-s2.0-2",
        ],
        ["2-s2.0-1", "2-s2.0-2"],
        [None, None],
    ),
    "Web of Science": (
        "Publication Type,Authors,Article Title,Source Title,Abstract,DOI,Pubmed Id,UT (Unique WOS ID)",
        ["J,Doe,{title},J,{abstract},10.1000/a,,WOS:1", "J,Doe,{title},J,{abstract},,,WOS:2"],
        ["WOS:1", "WOS:2"],
        [None, None],
    ),
    "Embase": (
        "Title,Author names,Abstract,DOI,Embase Accession ID,Medline PMID,PUI",
        ["{title},Doe,{abstract},10.1000/a,2024,11,L1", "{title},Doe,{abstract},,2025,,L2"],
        ["L1", "L2"],
        [None, None],
    ),
    "CINAHL": (
        "Article Title,Author,Journal Title,ISSN,Publication Date,Abstract,Accession Number,DOI,Publisher",
        ["{title},Doe,J,,20240101,{abstract},101,10.1000/a,P", "{title},Doe,J,,20240101,{abstract},102,,P"],
        ["101", "102"],
        [None, None],
    ),
    "Lens": (
        "#,Jurisdiction,Lens ID,Title,Date Published,Publication Year,Abstract,DOI,PMID,Source URLs",
        ["1,US,000-1,{title},2024-01-01,2024,{abstract},10.1000/a,11,", "2,US,000-2,{title},2024-01-01,2024,{abstract},,,"],
        ["000-1", "000-2"],
        [None, None],
    ),
    "PubMed": (
        "PMID,Title,Authors,Citation,First Author,Journal/Book,Publication Year,Create Date,PMCID,NIHMS ID,DOI",
        ["11,{title},Doe,J,Doe,J,2024,2024/01/01,,,10.1000/a", "12,{title},Doe,J,Doe,J,2024,2024/01/01,,,"],
        ["11", "12"],
        [None, None],
    ),
    "GregoryAI, terms": ("terms,relevant,article_id", ["{title},1,1", "{title},0,2"], IDS, [True, False]),
    "GregoryAI, text_processed": ("article_id,text_processed,relevant", ["1,{title},1", "2,{title},0"], IDS, [True, False]),
    "GregoryAI, API": (
        "article_id,title,summary,link,doi,published_date,discovery_date,subjects,article_subject_relevances,ml_predictions",
        [
            "1,{title},{abstract},https://x,10.1000/a,2026-01-02T00:00:00Z,2026-01-03T10:11:12.123456Z,Hot Drinks,Hot Drinks: True,0.9",
            "2,{title},{abstract},https://x,,2026-01-02T00:00:00Z,2026-01-03T10:11:12.123456Z,Hot Drinks,Hot Drinks: False,0.1",
        ],
        IDS,
        [True, False],
    ),
}
WITHOUT_ABSTRACTS = {"PubMed", "GregoryAI, terms", "GregoryAI, text_processed"}


@pytest.mark.parametrize("tool", LAYOUTS)
def test_the_export_of_a_tool_is_read_as_it_is(read, tool):
    header, lines, ids, labels = LAYOUTS[tool]
    records = [line.format(title=title, abstract=abstract) for line, title, abstract in zip(lines, TITLES, ABSTRACTS, strict=True)]

    found = read("\n".join([header, *records]) + "\n", subject="hot-drinks")

    assert found.problems == []
    assert [row.title for row in found.rows] == TITLES
    assert [row.summary for row in found.rows] == (["", ""] if tool in WITHOUT_ABSTRACTS else ABSTRACTS)
    assert [row.label for row in found.rows] == labels
    assert [
        row.source_id.partition(":")[0] if wanted == "text" else row.source_id for row, wanted in zip(found.rows, ids, strict=True)
    ] == ids


@pytest.mark.parametrize("tool", LAYOUTS)
def test_a_table_with_tabs_gives_the_same_articles(read, tool):
    header, lines, _, _ = LAYOUTS[tool]
    content = "\n".join([header, *(line.format(title="Tea", abstract=number) for number, line in enumerate(lines))])
    again = io.StringIO()
    csv.writer(again, delimiter="\t", lineterminator="\r\n").writerows(csv.reader(io.StringIO(content)))

    assert read(again.getvalue(), "papers.tsv", subject="hot-drinks").rows == read(content, subject="hot-drinks").rows
