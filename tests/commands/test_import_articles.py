"""`import_articles`: its output and exit codes."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from openpyxl import Workbook

from gregory.data import store
from gregory.models import Articles, ArticleSubjectRelevance, Team

pytestmark = pytest.mark.database
USED = "CSV with commas, UTF-8; columns used: article_id, title, summary, relevant\n"
FEW = "too few for certain test figures: label 47 more relevant and 47 more not relevant"
COUNTS = "1 relevant, 1 not relevant, 1 not reviewed; 1 without an abstract\n"


@pytest.fixture
def papers(tmp_path) -> Path:
    path = tmp_path / "papers.csv"
    path.write_text("article_id,title,summary,relevant\n11,Tea,Cups.,1\n12,Coffee,Mugs.,0\n13,Milk,,\n", encoding="utf-8")
    return path


def run(papers: Path | None, *flags: str, team: str = "drinks", subject: str = "hot") -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    files = [str(papers)] if papers else []
    call_command("import_articles", *files, "--team", team, "--subject", subject, *flags, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refusal(papers: Path | None, *flags: str, **place: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        run(papers, *flags, **place)
    return str(caught.value), caught.value.returncode


def test_the_counts_are_printed(db, papers):
    assert run(papers) == (f"{USED}drinks/hot: 3 articles new, 0 updated, 0 unchanged; {COUNTS}", "")


def test_a_second_import_changes_nothing(db, papers):
    run(papers)
    assert run(papers)[0] == f"{USED}drinks/hot: 0 articles new, 0 updated, 3 unchanged; {COUNTS}"


def test_corrections_are_counted(db, papers):
    run(papers)
    papers.write_text(papers.read_text(encoding="utf-8").replace("Cups.", "Pots.").replace("Mugs.,0", "Mugs.,1"), encoding="utf-8")
    assert run(papers)[0] == (
        f"{USED}drinks/hot: 0 articles new, 2 updated (1 with another text, 1 with another label), 1 unchanged; "
        "2 relevant, 0 not relevant, 1 not reviewed; 1 without an abstract\n"
    )


def test_articles_of_another_subject_are_counted_as_such(db, papers):
    run(papers)
    assert run(papers, subject="cold")[0] == (
        f"{USED}drinks/cold: 0 articles new, 3 of another subject added, 0 updated, 0 unchanged; {COUNTS}"
    )


def test_verbosity_0_prints_nothing(db, papers):
    assert run(papers, "--verbosity", "0") == ("", "")
    assert Articles.objects.count() == 3


def test_a_file_without_labels_is_imported_with_a_warning(db, papers):
    papers.write_text("article_id,title,summary\n11,Tea,Cups.\n", encoding="utf-8")
    assert run(papers)[1] == f"no row of {papers} has a label; training learns from labelled articles only\n"


def test_labels_that_would_be_ignored_are_an_error(db, papers):
    papers.write_text("article_id,title,summary,relevent\n11,Tea,Cups.,1\n", encoding="utf-8")
    assert refusal(papers) == (
        f"nothing was imported from {papers}\nthe column 'relevent' looks like labels (1) and is not used; "
        "add --label-column 'relevent', or --without-labels to import without them",
        1,
    )
    assert "1 relevant" in run(papers, "--label-column", "relevent")[0]


def test_labels_of_one_class_are_a_warning(db, papers):
    papers.write_text("article_id,title,summary,relevant\n11,Tea,Cups.,1\n", encoding="utf-8")
    assert run(papers)[1] == (
        f"all labels of {papers} are relevant; training needs both, so import the other articles into this subject, too\n"
    )


def test_equal_rows_and_other_label_columns_are_named(db, papers):
    papers.write_text("id,title,summary,relevant,label\n1,Tea,,1,0\n1,Tea,,1,0\n2,Milk,,0,1\n", encoding="utf-8")
    assert run(papers)[0].splitlines()[2:] == [
        "1 row repeated another one and changed nothing",
        "the labels are those of the column relevant, and not of label",
    ]


def test_dates_that_cannot_be_read_are_one_warning(db, papers):
    papers.write_text("id,title,relevant,discovery_date\n1,Tea,1,soon\n2,Milk,0,3/4/2025\n3,Coffee,0,2025\n", encoding="utf-8")
    assert run(papers)[1] == "2 dates cannot be read (3/4/2025, soon); these articles get the time of the import\n"


def test_a_dry_run_stores_nothing_and_tells_whether_a_training_could_work(db, papers):
    output, _ = run(papers, "--dry-run")
    assert output == (
        f"{USED}drinks/hot: 3 articles new, 0 updated, 0 unchanged; {COUNTS}nothing was stored (--dry-run); with these articles alone a "
        "training fails: a stratified 70/15/15 split needs both classes in every part: 6 articles of each class are always enough, there "
        "are 1 relevant and 1 not relevant; label more\n"
    )
    assert Articles.objects.count() == Team.objects.count() == 0
    papers.write_text("id,title,relevant\n" + "".join(f"{number},Tea {number},{number % 2}\n" for number in range(40)), encoding="utf-8")
    assert run(papers, "--dry-run")[0].endswith(f"nothing was stored (--dry-run); a training with these articles could work; {FEW}\n")


def test_a_bad_file_is_refused_with_every_line_and_exit_code_1(db, papers):
    papers.write_text("article_id,title,summary,relevant\n11,Tea,Cups.,1\nx,,,0\n13,Milk,,so-so\n", encoding="utf-8")
    assert refusal(papers) == (
        f"nothing was imported from {papers}\n"
        "line 3: column title: the title is blank; add it, or remove the row\n"
        "line 4: column relevant: 'so-so' is no label; write 1 or 0, true or false, yes or no, include or exclude, relevant or "
        "irrelevant, or blank for not reviewed, or give --relevant-value",
        1,
    )
    assert (Team.objects.count(), Articles.objects.count(), ArticleSubjectRelevance.objects.count()) == (0, 0, 0)


def test_the_first_twenty_bad_lines_are_named_and_the_others_counted(db, papers):
    papers.write_text("id,title\n" + "".join(f"{number},\n" for number in range(1, 24)), encoding="utf-8")
    lines = refusal(papers)[0].splitlines()
    assert [line.partition(":")[0] for line in lines[1:-1]] == [f"line {number}" for number in range(2, 22)]
    assert lines[-1] == "... and 3 more"


def test_bad_rows_are_left_out_on_request_and_written_with_their_reasons(db, papers):
    papers.write_text("id,title,summary,relevant\n11,Tea,Cups.,1\n12,,=1+1,0\n13,Milk,,0\n", encoding="utf-8")
    output, errors = run(papers, "--skip-bad-rows")
    assert "2 articles new" in output
    refused = papers.with_name("papers.csv.refused.csv")
    assert errors == f"1 row refused; {refused} has them with the reasons\n"
    assert refused.read_text(encoding="utf-8") == (
        'place,reason,id,title,summary,relevant\nline 3,"column title: the title is blank; add it, or remove the row",12,,\'=1+1,0\n'
    )


def test_bad_rows_alone_are_refused(db, papers):
    papers.write_text("id,title\n11,\n", encoding="utf-8")
    reason = "line 2: column title: the title is blank; add it, or remove the row"
    assert refusal(papers, "--skip-bad-rows") == (f"nothing was imported from {papers}\n{reason}", 1)
    assert (Team.objects.count(), list(papers.parent.iterdir())) == (0, [papers])


def test_a_refused_row_keeps_its_bytes(db, papers):
    papers.write_bytes("id,title\n11,Thé\n".encode() + b"12,Caf\xe9\n")
    run(papers, "--skip-bad-rows")
    assert papers.with_name("papers.csv.refused.csv").read_bytes().endswith(b",12,Caf\xe9\n")


def test_flags_of_labels_exclude_an_import_without_them(db, papers):
    message = "names labels, and --without-labels imports none; leave out one of them"
    for flags in (("--relevant-value", "1"), ("--label-column", "relevant")):
        assert refusal(papers, *flags, "--without-labels") == (f"{flags[0]} {message}", 2)


def test_bad_rows_are_not_left_out_if_nobody_would_see_them(db, papers):
    papers.write_text("id,title\n11,Tea\n12,\n", encoding="utf-8")
    papers.with_name("papers.csv.refused.csv").mkdir()
    assert refusal(papers, "--skip-bad-rows") == (
        f"nothing was imported from {papers}\n{papers}.refused.csv cannot be written: Is a directory; "
        "--skip-bad-rows needs a writable folder",
        1,
    )
    assert Articles.objects.count() == 0


@pytest.mark.parametrize(
    ("name", "limit", "file", "reason"),
    [
        ("GREGORY_IMPORT_LINE", 20, "papers.csv", "line 1 has more than 20 characters; "),
        ("GREGORY_IMPORT_CELL", 3, "papers.ris", "line 1: a text with 10 characters, and the limit is 3; "),
        ("GREGORY_IMPORT_UNPACKED", 100, "papers.xlsx", " bytes when it is unpacked, and the limit is 100; "),
    ],
)
def test_the_limits_are_settings(db, tmp_path, papers, settings, name, limit, file, reason):
    (tmp_path / "papers.ris").write_text("TY  - JOUR\nTI  - Green tea.\nER  - \n", encoding="utf-8")
    book = Workbook()
    book.active.append(["id", "title"])
    book.save(tmp_path / "papers.xlsx")
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(update={name: limit})

    message, code = refusal(papers.with_name(file))

    assert (reason in message, f"raise {name}" in message, code) == (True, True, 1)


def test_an_import_is_taken_back(db, papers):
    run(papers)
    assert run(None, "--remove", "--dry-run")[0] == "drinks/hot: nothing was removed; 3 imported articles would be\n"
    assert run(None, "--remove", "--yes")[0] == "drinks/hot: 3 articles removed\n"
    assert (Articles.objects.count(), ArticleSubjectRelevance.objects.count(), Team.objects.count()) == (0, 0, 1)
    assert refusal(None, "--remove", "--yes") == ("drinks/hot has no imported article", 1)


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 3), ("", 3)])
def test_an_import_is_taken_back_after_a_question(db, papers, monkeypatch, answer, left):
    run(papers)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: answer)
    _, asked = run(None, "--remove")
    assert asked == "remove 3 imported articles of drinks/hot with the labels? The models stay. [y/N] "
    assert Articles.objects.count() == left


def test_nothing_is_taken_back_without_a_terminal(db, papers):
    run(papers)
    message = "the command asks on a terminal before it removes anything; without one, give --yes"
    assert refusal(None, "--remove") == (message, 2)


def test_a_missing_file_is_a_usage_error(db):
    assert refusal(None) == ("the file is missing; only --remove needs none", 2)


def test_a_bad_slug_is_a_usage_error_with_exit_code_2(db, papers):
    assert refusal(papers, team="hot drinks") == (
        "team slug 'hot drinks' is not usable: letters, digits, hyphens and underscores only",
        2,
    )
    assert Articles.objects.count() == 0


def test_a_missing_flag_is_a_usage_error(papers):
    with pytest.raises(CommandError, match=r"^Error: the following arguments are required: --subject$"):
        call_command("import_articles", str(papers), "--team", "drinks")


def test_a_database_of_gregoryai_is_refused_with_exit_code_1(db, papers):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE articles ADD COLUMN takeaways text")
    reason = (
        "this database is GregoryAI's own (its table articles also has takeaways): only GregoryAI can fill its tables, so enter "
        "articles there; importing is for databases made by this project's migrations"
    )
    assert refusal(papers) == (f"nothing was imported from {papers}\n{reason}", 1)
    assert refusal(None, "--remove", "--yes") == (f"nothing was removed\n{reason}", 1)


def test_a_database_that_goes_away_is_one_line_and_keeps_nothing(db, papers, monkeypatch):
    def away() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(store, "_move_sequence", away)

    with pytest.raises(CommandError, match=r"^the database cannot be used: connection refused; ") as ended:
        run(papers)

    assert (ended.value.returncode, Articles.objects.count(), Team.objects.count()) == (1, 0, 0)
