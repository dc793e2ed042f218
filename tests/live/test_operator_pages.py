"""The operator pages on a GregoryAI database: its accounts, the role with the least rights, and no change of its tables."""

import json
from pathlib import Path

import pytest
from django.contrib.auth.hashers import make_password

from tests.live.database import LiveDatabase, live
from tests.published import answering_model
from tests.roles import SCRIPT, grant, run_script
from tools.installation import Installation, create_migrated
from tools.postgresql import Server

PASSWORD = "of-the-pages"
ROLE = {"POSTGRES_USER": "gregory_web", "POSTGRES_PASSWORD": PASSWORD}
PAGES = SCRIPT.with_name("operator-pages.sql")
# A browser of each user visits every page, and starts actions.
VISIT = """
import json
from django.test import Client
from django.conf import settings
from gregory.web.metrics import served
settings.ALLOWED_HOSTS = ["testserver"]
answers = {}
for name in ("member", "visitor"):
    client = Client(raise_request_exception=False)
    login = client.post("/login/", {"username": name, "password": "secret", "next": "/"}, secure=True)
    answers[name] = {"login": login.status_code}
    for page in ("/", "/gregory_runs/trainingrun/", "/gregory/predictionrunlog/", "/gregory/subject/", "/gregory/articles/?subject=1",
                 "/gregory/articlesubjectrelevance/", "/gregory_runs/operatoraction/", "/subjects/1/", "/runs/0123456789ab/",
                 "/progress/?run=0123456789ab", "/subjects/1/compare/?first=lgbm_tfidf/20260101&second=lgbm_tfidf/20260102"):
        answer = client.get(page, secure=True)
        answers[name][page] = answer.status_code
        if "compare" in page:
            answers[name]["compared"] = b"is worse than" in answer.content
    answers[name]["cancel"] = client.post("/runs/0123456789ab/cancel/", secure=True).status_code
    answers[name]["label"] = client.post("/subjects/1/label/1/", {"label": "1"}, secure=True).status_code
answers["metrics"] = [family.name for family in served.collect()]
print(json.dumps(answers))
"""
RUN = """
INSERT INTO gregory_runs_trainingrun (run_id, subject_id, runner, attempt, attempt_token, retries, spec, state, reason, detail, host,
    external_name, external_uid, image_digest, queued_at, log_tail, node, waiting_for, cancelled_by)
    VALUES ('0123456789ab', 1, 'local', 1, repeat('0', 32), 0,
    '{"team": {"id": 1, "slug": "neurology"}, "subject": {"id": 1, "slug": "ms"}}',
    'pending', '', '', '', '', '', '', now(), '', '', '', '')
"""


@pytest.fixture
def database(postgresql_server: Server, tmp_path: Path) -> LiveDatabase:
    """A GregoryAI database with our tables and roles, a queued run, a member of its team, and a user of no organization."""
    database = live(postgresql_server, "newest")
    Installation(tmp_path / "owner", environment=database.environment()).must("migrate", "-v0")
    database.grant()
    done = run_script(postgresql_server, database.name, PAGES)
    assert done.returncode == 0, done.stderr
    database.execute(f"ALTER ROLE gregory_web PASSWORD '{PASSWORD}'")
    database.execute(RUN)
    for name in ("member", "visitor"):
        database.insert("auth_user", account(name))
    ((organization,),) = database.execute("SELECT organization_id FROM gregory_team WHERE slug = 'neurology'")
    database.execute(
        "INSERT INTO organizations_organizationuser (created, modified, is_admin, organization_id, user_id) "
        f"SELECT now(), now(), false, {organization}, id FROM auth_user WHERE username = 'member'"
    )
    database.execute(
        "INSERT INTO auth_user_user_permissions (user_id, permission_id) SELECT u.id, p.id FROM auth_user u, auth_permission p "
        "WHERE username IN ('member', 'visitor') AND codename IN ('change_trainingrun', 'change_articlesubjectrelevance')"
    )
    return database


def account(name: str) -> dict[str, object]:
    # An old hash, which Django would renew.
    password = make_password("secret", hasher="pbkdf2_sha1")
    flags = {"is_superuser": False, "is_staff": True, "is_active": True}
    return {"username": name, "password": password, "first_name": "", "last_name": "", "email": "", "date_joined": "2026-01-01", **flags}


def test_the_pages_work_with_the_accounts_and_the_role_of_a_live_database(database: LiveDatabase, tmp_path: Path):
    installation = Installation(
        tmp_path / "pages", environment={**database.environment(), **ROLE, "DJANGO_SETTINGS_MODULE": "tests.web_settings"}
    )
    folder = installation.models / "neurology" / "ms" / "lgbm_tfidf"
    answering_model(folder, "20260101", lambda number: 0.1 if number % 2 else 0.9)
    answering_model(folder, "20260102", lambda number: 0.9 if number % 2 else 0.1)
    before, catalog = database.rows(), database.catalog()

    printed = installation.must("shell", "--no-imports", "-c", VISIT)

    answers = json.loads(printed.splitlines()[-1])
    lists = [page for page in answers["member"] if page.startswith("/")]
    assert {page: answers["member"][page] for page in lists} == dict.fromkeys(lists, 200)
    assert [answers["member"][name] for name in ("login", "cancel", "label")] == [302, 302, 302]
    assert (answers["member"]["compared"], answers["visitor"]["compared"]) == (True, False)
    assert "gregory_last_success_timestamp_seconds" in answers["metrics"]
    assert [answers["visitor"][page] for page in ("/subjects/1/", "/runs/0123456789ab/", "cancel", "label")] == [404] * 4
    assert database.execute("SELECT state, cancelled_by FROM gregory_runs_trainingrun") == [("cancelled", "member on the operator pages")]
    assert database.execute("SELECT by, action, done FROM gregory_runs_operatoraction") == [("member", "cancel", True)]
    assert database.rows() == before
    assert database.catalog() == catalog


def test_preflight_names_what_the_role_of_the_pages_lacks(database: LiveDatabase, tmp_path: Path):
    web = {"GREGORY_WEB_URL": "https://models.example.org"}
    installation = Installation(tmp_path / "pages", environment={**database.environment(), **ROLE, **web})

    granted = installation.must("preflight", "--only", "database")
    database.execute("REVOKE SELECT ON auth_user_groups, gregory_mlpredictions FROM gregory_web")
    revoked = installation.must("preflight", "--only", "database")

    assert "role gregory_web reads the accounts, as the operator pages need" in granted
    assert (
        "role gregory_web lacks permissions that the operator pages need: GRANT SELECT (id, user_id, group_id) ON auth_user_groups"
        in revoked
    )
    assert "docs/sql/operator-pages.sql" in revoked


# As a service of compose.yaml does it, and a browser after it.
LOGIN = """
from django.conf import settings
from django.test import Client
settings.ALLOWED_HOSTS = ["testserver"]
client = Client()
client.post("/login/", {"username": "operator", "password": "secret"}, secure=True)
print([client.get(page, secure=True).status_code for page in ("/", "/gregory/subject/", "/gregory/articles/", "/subjects/1/")])
"""


def test_the_role_suffices_for_a_database_of_our_own(postgresql_server: Server, tmp_path: Path):
    create_migrated(postgresql_server, tmp_path.name)
    environment = postgresql_server.environment(tmp_path.name)
    owner = Installation(tmp_path / "owner", environment={**environment, "DJANGO_SUPERUSER_PASSWORD": "secret"})
    for script in (SCRIPT, PAGES):
        grant(postgresql_server, tmp_path.name, script)
    with postgresql_server.connect(tmp_path.name) as connection:
        connection.execute(f"ALTER ROLE gregory_web PASSWORD '{PASSWORD}'")
    owner.must("load_demo")
    owner.must("createsuperuser", "--noinput", "--username", "operator", "--email", "operator@example.org")
    pages = Installation(tmp_path / "pages", environment={**environment, **ROLE, "DJANGO_SETTINGS_MODULE": "tests.web_settings"})

    assert pages.must("shell", "--no-imports", "-c", LOGIN).splitlines()[-1] == "[200, 200, 200, 200]"
