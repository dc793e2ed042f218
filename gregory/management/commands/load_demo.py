"""`manage.py load_demo`: load invented articles, so that training can be tried without real data."""

from collections import defaultdict
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from django.utils import timezone

from gregory.data.demo import DemoArticle, generate
from gregory.data.imports.errors import ImportRefused
from gregory.data.imports.read import ImportRow, article_urn
from gregory.data.place import refuse_foreign_database
from gregory.data.store import import_rows
from gregory.management.command import ManagementCommand
from gregory.management.database import clear_database_errors
from gregory.models import Articles, Subject


class Command(ManagementCommand):
    """Loads the demo articles once. A repetition changes nothing."""

    help = "Load two invented teams with three subjects and almost 500 articles, most of them labelled. A repetition changes nothing."

    @clear_database_errors()
    def handle(self, *, verbosity: int, **options: Any) -> None:
        """Load everything in one transaction and print the counts. Exit code FAILURE: refused."""
        articles = generate(timezone.now().date())
        try:
            refuse_foreign_database()
            with transaction.atomic():
                lines = _load(articles)
        except ImportRefused as error:
            raise CommandError(str(error)) from error
        if verbosity > 0:
            self.stdout.write("\n".join(lines))


def _load(articles: list[DemoArticle]) -> list[str]:
    first, last = articles[0].article_id, articles[-1].article_id
    present = Articles.objects.filter(article_id__range=(first, last)).count()
    if present == len(articles):
        return [f"all {present} demo articles are already loaded; nothing was changed"]
    if present:
        raise ImportRefused(
            f"{present} of the {len(articles)} demo articles are already loaded; "
            f"delete the articles {first} to {last}, then run load_demo again"
        )
    lines = []
    rows = _by_subject(articles)
    for (team, subject), subject_rows in rows.items():
        if Subject.objects.filter(team__slug=team, subject_slug=subject, articles__isnull=False).exists():
            raise ImportRefused(
                f"subject {team}/{subject} has other articles; rename the subject, because demo articles are never added to real ones"
            )
        result = import_rows(subject_rows, team_slug=team, subject_slug=subject)
        relevant = sum(row.label is True for row in subject_rows)
        lines.append(f"{team}/{subject}: {result.labelled} labelled articles ({relevant} relevant), {result.unlabelled} unlabelled")
    teams = {team for team, _ in rows}
    return [*lines, f"loaded {len(teams)} teams, {len(rows)} subjects and {len(articles)} invented articles"]


def _by_subject(articles: list[DemoArticle]) -> dict[tuple[str, str], list[ImportRow]]:
    rows: dict[tuple[str, str], list[ImportRow]] = defaultdict(list)
    for article in articles:
        for review in article.reviews:
            rows[review.team, review.subject].append(
                ImportRow(
                    source_id=str(article.article_id),
                    title=article.title,
                    summary=article.abstract,
                    link=article_urn(str(article.article_id)),
                    label=review.label,
                    discovery_date=article.discovery_date,
                )
            )
    return dict(sorted(rows.items()))
