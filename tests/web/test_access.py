"""Nobody sees a page without a login, and nobody sees or changes anything of another team. The routes come from the URL resolver."""

import string
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from gregory.data import labelling
from gregory.models import ArticleSubjectRelevance
from gregory.runs import store
from gregory.runs.models import OperatorAction, TrainingRun
from tests.web.conftest import LISTS, PAGES, Tenant

pytestmark = pytest.mark.django_db
OPEN = {"login"}
# Routes that no row belongs to.
OF_NOBODY = {"index", "login", "logout", "jsi18n"}


def routes() -> Iterator[tuple[str, set[str]]]:
    """The name of every route, with the names of its parts."""

    def walk(patterns: list[URLPattern | URLResolver], parts: set[str]) -> Iterator[tuple[str, set[str]]]:
        for one in patterns:
            inner = parts | set(one.pattern.converters) | set(one.pattern.regex.groupindex)
            if isinstance(one, URLResolver):
                yield from walk(one.url_patterns, inner)
            else:
                yield one.name or str(one.pattern), inner

    return walk(get_resolver("gregory.web.urls").url_patterns, set())


def values(tenant: Tenant) -> dict[str, object]:
    """A value of the tenant for every part of a route. A new part without a value fails the tests."""
    article = tenant.subject.articles.first()
    assert article is not None
    return {
        "run_id": tenant.run.run_id,
        "subject_id": tenant.subject.pk,
        "article_id": article.pk,
        "object_id": str(article.pk),
        "algorithm": "lgbm_tfidf",
        "version": "20260101",
    }


def address(name: str, parts: set[str], tenant: Tenant) -> str:
    return reverse(f"admin:{name}", kwargs={part: values(tenant)[part] for part in parts})


def test_every_page_asks_for_a_login(ours: Tenant):
    for name, parts in routes():
        page = address(name, parts, ours)
        answers = {Client().get(page).status_code, Client().post(page).status_code} if name not in OPEN else {302}
        assert answers <= {302}, (name, answers)
        if name not in OPEN:
            assert Client().get(page).headers["Location"] == f"{reverse('admin:login')}?next={page}", name


def test_a_user_without_staff_status_sees_no_page(ours: Tenant):
    client = Client()
    client.force_login(User.objects.create_user("guest"))

    assert {client.get(address(name, parts, ours)).status_code for name, parts in routes() if name not in OPEN | {"logout"}} <= {302, 404}


def test_a_member_sees_nothing_of_another_team(ours: Tenant, theirs: Tenant):
    words = ("theirs", theirs.run.run_id, "theirs-subject", "theirs-member")
    for name, parts in routes():
        if name == "logout":
            continue
        page = address(name, parts, theirs)
        answer = ours.client.get(page)
        if parts - {"algorithm", "version"}:
            assert answer.status_code == 404, (name, answer.status_code)
            continue
        text = answer.content.decode()
        assert not [word for word in words if word in text], name


@pytest.mark.parametrize("query", ["q=theirs", "team={team}", "subject={subject}", "e=1", "all=", "o=1.2.3", "run={run}&log={run}"])
def test_no_search_filter_or_order_shows_another_team(ours: Tenant, theirs: Tenant, query: str):
    query = query.format(team=theirs.team.pk, subject=theirs.subject.pk, run=theirs.run.run_id)
    for name, parts in routes():
        if not parts and name not in OPEN | {"logout"}:
            text = ours.client.get(f"{reverse(f'admin:{name}')}?{query}").content.decode()
            shown = (
                text.replace('value="theirs"', "")
                .replace("run=" + theirs.run.run_id, "")
                .replace("log=" + theirs.run.run_id, "")
                .replace("q=theirs", "")
            )
            assert not [word for word in ("theirs-subject", theirs.run.run_id, "theirs-member") if word in shown], name


def test_a_member_changes_nothing_of_another_team(ours: Tenant, theirs: Tenant):
    before = list(TrainingRun.objects.order_by("pk").values()), list(ArticleSubjectRelevance.objects.order_by("pk").values())
    for name, parts in routes():
        if parts - {"algorithm", "version"}:
            assert ours.client.post(address(name, parts, theirs), {"label": "1"}).status_code in (404, 405), name

    after = list(TrainingRun.objects.order_by("pk").values()), list(ArticleSubjectRelevance.objects.order_by("pk").values())
    assert after == before
    assert not OperatorAction.objects.exists()


def test_the_routes_are_those_that_this_module_knows():
    assert {name for name, parts in routes() if not parts} - OF_NOBODY == {
        "progress",
        *LISTS,
    }


@pytest.mark.parametrize("name", ["cancel", "retry", "train", "predict", "promote", "rollback", "label", "save_label"])
def test_a_member_without_a_permission_acts_on_nothing(ours: Tenant, name: str):
    ours.member.user_permissions.clear()
    (parts,) = [parts for known, parts in routes() if known == name]

    assert ours.client.post(address(name, parts, ours), {"label": "1"}).status_code == 403
    assert not OperatorAction.objects.exists()


def test_an_act_needs_the_token_of_a_form(ours: Tenant):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ours.member)

    assert client.post(reverse("admin:cancel", args=[ours.run.run_id])).status_code == 403
    run = store.find_run(ours.run.run_id)
    assert run is not None
    assert run.state == "pending"


def test_a_login_writes_nothing(ours: Tenant):
    ours.member.set_password("secret")
    ours.member.save()
    before = User.objects.filter(pk=ours.member.pk).values().get()
    client = Client()

    answer = client.post(reverse("admin:login"), {"username": "ours-member", "password": "secret", "next": "/"})

    assert answer.status_code == 302
    assert client.get("/").status_code == 200
    assert User.objects.filter(pk=ours.member.pk).values().get() == before


def test_the_settings_of_a_server_pass_the_checks_of_a_deployment():
    with override_settings(**PAGES, SECRET_KEY=string.ascii_letters + string.digits):
        problems = [problem for problem in run_checks(include_deployment_checks=True) if not problem.is_silenced()]

    assert problems == []


def test_probes_need_no_login_and_pages_have_their_headers(ours: Tenant):
    assert Client().get("/healthz", headers={"host": "10.0.0.7"}).content == b"ok\n"
    headers = ours.client.get("/").headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert labelling.candidates(ours.subject.pk, {}, limit=1) == []
