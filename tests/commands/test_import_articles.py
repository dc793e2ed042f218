"""`import_articles`: its output and exit codes."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from gregory.data import store
from gregory.models import Articles, ArticleSubjectRelevance, Team

pytestmark = pytest.mark.database


@pytest.fixture
def papers(tmp_path) -> Path:
    path = tmp_path / "papers.csv"
    path.write_text("article_id,title,summary,relevant\n11,Tea,Cups.,1\n12,Coffee,Mugs.,0\n13,Milk,,\n", encoding="utf-8")
    return path


def run(papers: Path, *flags: str, team: str = "drinks", subject: str = "hot") -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("import_articles", str(papers), "--team", team, "--subject", subject, *flags, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_counts_are_printed(db, papers):
    assert run(papers) == ("drinks/hot: 3 articles new, 0 updated, 0 unchanged; 2 with a label (1 relevant), 1 without\n", "")


def test_a_second_import_changes_nothing(db, papers):
    run(papers)
    assert run(papers)[0] == "drinks/hot: 0 articles new, 0 updated, 3 unchanged; 2 with a label (1 relevant), 1 without\n"


def test_another_subject_can_have_the_same_articles(db, papers):
    run(papers)
    assert run(papers, subject="cold")[0] == "drinks/cold: 0 articles new, 3 updated, 0 unchanged; 2 with a label (1 relevant), 1 without\n"


def test_verbosity_0_prints_nothing(db, papers):
    assert run(papers, "--verbosity", "0") == ("", "")
    assert Articles.objects.count() == 3


def test_a_file_without_labels_is_imported_with_a_warning(db, papers):
    papers.write_text("article_id,title,summary,relevent\n11,Tea,Cups.,1\n", encoding="utf-8")
    assert run(papers) == (
        "drinks/hot: 1 article new, 0 updated, 0 unchanged; 0 with a label (0 relevant), 1 without\n",
        f"no line of {papers} has a label (column relevant or label); training learns from labelled articles only\n",
    )


def test_other_summaries_are_kept_with_a_warning(db, papers):
    run(papers)
    papers.write_text(papers.read_text(encoding="utf-8").replace("Cups.", "Pots."), encoding="utf-8")
    assert run(papers)[1] == "the database keeps its other summary of 1 article\n"


def test_a_bad_file_is_refused_with_every_line_and_exit_code_1(db, papers):
    papers.write_text("article_id,title,summary,relevant\n11,Tea,Cups.,1\nx,Coffee,,0\n13,Milk,,so-so\n", encoding="utf-8")
    with pytest.raises(CommandError) as caught:
        run(papers)
    assert str(caught.value) == (
        "nothing was imported\n"
        "line 3: article_id 'x' is not a whole number from 1 to 2147483647\n"
        "line 4: label 'so-so' is none of 1, 0, true, false, yes, no, or blank for not reviewed"
    )
    assert caught.value.returncode == 1
    assert (Team.objects.count(), Articles.objects.count(), ArticleSubjectRelevance.objects.count()) == (0, 0, 0)


def test_a_bad_slug_is_a_usage_error_with_exit_code_2(db, papers):
    with pytest.raises(CommandError) as caught:
        run(papers, team="hot drinks")
    assert str(caught.value) == "team slug 'hot drinks' is not usable: letters, digits, hyphens and underscores only"
    assert caught.value.returncode == 2
    assert Articles.objects.count() == 0


def test_a_missing_flag_is_a_usage_error(papers):
    with pytest.raises(CommandError, match=r"^Error: the following arguments are required: --subject$"):
        call_command("import_articles", str(papers), "--team", "drinks")


def test_a_database_of_gregoryai_is_refused_with_exit_code_1(db, papers):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE articles ADD COLUMN takeaways text")
    with pytest.raises(CommandError) as caught:
        run(papers)
    assert str(caught.value) == (
        "nothing was imported\n"
        "this database is GregoryAI's own (its table articles also has takeaways): only GregoryAI can fill its tables, so enter "
        "articles there; importing is for databases made by this project's migrations"
    )
    assert caught.value.returncode == 1


def test_a_database_that_goes_away_is_one_line_and_keeps_nothing(db, papers, monkeypatch):
    def away() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(store, "_move_sequence", away)

    with pytest.raises(CommandError, match=r"^the database cannot be used: connection refused; ") as ended:
        run(papers)

    assert (ended.value.returncode, Articles.objects.count(), Team.objects.count()) == (1, 0, 0)
