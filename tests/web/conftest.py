"""The operator pages in this process: their settings, two teams, and browsers of their users without a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from organizations.models import Organization, OrganizationUser

from gregory.models import Subject, Team
from gregory.runs.spec import RunSpec
from gregory.web import settings as web
from tests.database_rows import label_articles, make_subject, make_team, opened

# The settings of the pages for a browser of this machine.
PAGES = {
    name: getattr(web, name)
    for name in dir(web)
    if name.isupper() and name not in ("DATABASES", "MODELS_DIR", "SECRET_KEY", "LOGGING", "COMMAND_SETTINGS", "ENVIRONMENT")
}
LOCAL = {
    "ALLOWED_HOSTS": ["testserver"],
    "SECURE_SSL_REDIRECT": False,
    "SESSION_COOKIE_SECURE": False,
    "CSRF_COOKIE_SECURE": False,
    "SECURE_HSTS_SECONDS": 0,
    # Hashes for tests only.
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
}
# The routes of the lists.
LISTS = (
    "gregory_runs_trainingrun_changelist",
    "gregory_runs_operatoraction_changelist",
    "gregory_predictionrunlog_changelist",
    "gregory_subject_changelist",
    "gregory_articles_changelist",
    "gregory_articlesubjectrelevance_changelist",
)


@pytest.fixture(autouse=True, scope="module")
def pages() -> Iterator[None]:
    with override_settings(**{**PAGES, **LOCAL}):
        yield


@pytest.fixture(autouse=True)
def models_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "models"
    folder.mkdir()
    with override_settings(MODELS_DIR=folder):
        yield folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A team with a subject, a run and a member. can_operate: the member has all permissions."""

    team: Team
    subject: Subject
    run: RunSpec
    member: User

    @property
    def client(self) -> Client:
        client = Client()
        client.force_login(self.member)
        return client


def make_tenant(name: str) -> Tenant:
    team = make_team(name)
    subject = make_subject(team, f"{name}-subject")
    label_articles(subject)
    for article in subject.article_relevances.all():
        article.article.subjects.add(subject)
    member = User.objects.create_user(f"{name}-member", password="x", is_staff=True)
    OrganizationUser.objects.create(user=member, organization=Organization.objects.get(name=name))
    member.user_permissions.set(Permission.objects.filter(codename__in=["change_trainingrun", "change_articlesubjectrelevance"]))
    return Tenant(team=team, subject=subject, run=opened(subject), member=member)


@pytest.fixture
def ours(db: None) -> Tenant:
    return make_tenant("ours")


@pytest.fixture
def theirs(db: None) -> Tenant:
    return make_tenant("theirs")


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client
