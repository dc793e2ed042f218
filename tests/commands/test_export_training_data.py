"""export_training_data: its files, their lines and the refusals."""

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from gregory.data import corpus
from gregory.ml.dataset import Article
from gregory.models import Articles, ArticleSubjectRelevance, Subject
from gregory.runs import db_retry
from tests.database_rows import make_subject, make_team

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def ms() -> Subject:
    team = make_team("neurology")
    make_subject(team, "als")
    return make_subject(team, "ms")


def add(subject: Subject, number: int, *, label: bool | None, days: int = 0) -> None:
    discovered = timezone.now() - timedelta(days=days)
    article = Articles.objects.create(
        article_id=number, title=f"Title {number}", link="urn:x", summary=f"<p>Abstract {number}</p>", discovery_date=discovered
    )
    ArticleSubjectRelevance.objects.create(article=article, subject=subject, is_relevant=label)


def export(folder: Path, *flags: str) -> str:
    out = StringIO()
    call_command("export_training_data", "--team", "neurology", "--output-dir", str(folder), *flags, stdout=out, stderr=out, no_color=True)
    return out.getvalue()


def rows(folder: Path) -> list[list[str]]:
    (file,) = folder.iterdir()
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))[1:]


def test_each_subject_with_labels_in_the_window_gets_a_file(ms: Subject, tmp_path: Path):
    add(ms, 1, label=True)
    add(ms, 2, label=False, days=89)
    add(ms, 3, label=None)
    add(ms, 4, label=True, days=91)

    output = export(tmp_path / "new" / "out")

    assert rows(tmp_path / "new" / "out") == [["1", "Title 1\nAbstract 1", "1"], ["2", "Title 2\nAbstract 2", "0"]]
    assert "neurology/als: no labelled article; articles of the last 90 days" in output
    assert "neurology/ms: 1 relevant and 1 not relevant articles to " in output


def test_a_connection_that_is_lost_after_the_last_row_begins_the_file_again(ms: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    add(ms, 1, label=True)
    reads, labelled = [0], corpus.labelled

    def cut_at_the_first_close(subject_id: int, cutoff: datetime | None) -> Iterator[Article]:
        yield from labelled(subject_id, cutoff)
        reads[0] += 1
        if reads[0] == 1:
            raise connection.Database.OperationalError("the connection is lost")

    monkeypatch.setattr(corpus, "labelled", cut_at_the_first_close)
    monkeypatch.setattr(db_retry, "PAUSES", (0.0,))
    # The connection holds the transaction of the test.
    monkeypatch.setattr(db_retry.connection, "close", lambda: None)

    export(tmp_path, "--subject", "ms")

    assert (rows(tmp_path), reads) == ([["1", "Title 1\nAbstract 1", "1"]], [2])


@pytest.mark.parametrize(("flags", "ids"), [(("--all-articles",), ["1", "4"]), (("--lookback-days", "10"), ["1"])])
def test_the_window_flags_are_those_of_train_models(ms: Subject, tmp_path: Path, flags: tuple[str, ...], ids: list[str]):
    add(ms, 1, label=True)
    add(ms, 4, label=True, days=91)

    export(tmp_path, "--subject", "ms", *flags)

    assert [row[0] for row in rows(tmp_path)] == ids


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--subject", "ms"), 1, "nothing was exported: no labelled articles"),
        (("--subject", "nosuch"), 2, "team 'neurology' has no subject 'nosuch'; its subjects: als, ms"),
        (("--all-articles", "--lookback-days", "3"), 2, "--all-articles and --lookback-days exclude each other: give one of them"),
        (("--output-dir", "/proc/nowhere"), 1, "/proc/nowhere: No such file or directory; choose another --output-dir"),
    ],
)
def test_refusals(ms: Subject, tmp_path: Path, flags: tuple[str, ...], code: int, message: str):
    with pytest.raises(CommandError) as refused:
        export(tmp_path, *flags)

    assert (refused.value.returncode, str(refused.value)) == (code, message)
    assert list(tmp_path.iterdir()) == []
