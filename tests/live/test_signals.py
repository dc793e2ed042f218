"""A signal while a command opens the rows of many subjects, with a real server."""

import signal
import time

import pytest

from tools.installation import Installation

SUBJECTS = 2_000
INSERT = f"""
from organizations.models import Organization
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team
team = Team.objects.create(slug="t", organization=Organization.objects.create(name="t"))
Subject.objects.bulk_create(Subject(team=team, subject_slug=f"s-{{n}}", subject_name=f"s-{{n}}") for n in range({SUBJECTS}))
articles = Articles.objects.bulk_create(Articles(title=f"article {{n}}", link=f"https://example.org/{{n}}") for n in range(12))
ArticleSubjectRelevance.objects.bulk_create(
    ArticleSubjectRelevance(article=article, subject=subject, is_relevant=number < 6)
    for subject in Subject.objects.all()
    for number, article in enumerate(articles)
)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow)])
def test_no_run_stays_queued(postgresql_installation: Installation, number: signal.Signals, code: int):
    postgresql_installation.run_code(INSERT)

    with postgresql_installation.start("train_models", "--team", "t", "--all-articles", "--algo", "lgbm_tfidf,lstm") as command:
        deadline = time.monotonic() + 600
        while not (opened := len(postgresql_installation.rows())):
            assert time.monotonic() < deadline
            assert command.poll() is None, command.communicate()[0]
            time.sleep(0.02)
        # The rows are opened one subject after the other, so most of them are still missing.
        command.send_signal(number)
        output, _ = command.communicate(timeout=600)

    rows = postgresql_installation.rows()
    assert (command.returncode, opened < 2 * SUBJECTS) == (code, True)
    assert output == f"CommandError: interrupted by signal {number.value} ({number.name}); every open row was closed\n"
    assert len(rows) < 2 * SUBJECTS
    assert {(row["success"], row["finished"], row["reason"], row["state"]) for row in rows} == {(False, True, "interrupted", "cancelled")}
