"""The installation of compose.yaml on one host, with a real database container, up to a model and its row."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from tests.end_to_end.trainings import wait_for
from tests.strict import need
from tools.docker_engine import COMPOSE, Engine
from tools.installation import REPOSITORY
from tools.ports import free_port

pytestmark = pytest.mark.slow

Compose = Callable[..., str]
PREDICTED = ("--team", "neurology", "--subject", "migraine-prevention", "--all-articles")


@pytest.fixture
def port() -> int:
    """The port of the pages."""
    return free_port()


@pytest.fixture
def compose(docker_engine: Engine, cpu_image: str, postgres_image: str, small_bundle: Path, tmp_path: Path, port: int) -> Iterator[Compose]:
    """docker-compose with compose.yaml. Afterwards all its containers and volumes are removed."""
    need(Path(COMPOSE).exists(), what="docker-compose", remedy="apt-get install docker-compose")
    environment = {
        **os.environ,
        "DOCKER_HOST": docker_engine.host,
        "COMPOSE_PROJECT_NAME": "gregory",
        "GREGORY_IMAGE": cpu_image,
        "POSTGRES_IMAGE": postgres_image,
        "POSTGRES_PASSWORD": "of-the-owner",
        "POSTGRES_TRAIN_PASSWORD": "of-the-commands",
        "POSTGRES_RUN_PASSWORD": "of-the-runs",
        "POSTGRES_PREDICT_PASSWORD": "of-the-predictions",
        "POSTGRES_WEB_PASSWORD": "of-the-pages",
        "DJANGO_SUPERUSER_PASSWORD": "of-the-operator",
        "GREGORY_WEB_PORT": str(port),
        "BASE_MODELS": str(small_bundle),
    }

    def call(*arguments: str, code: int = 0) -> str:
        argv = [COMPOSE, "--file", str(REPOSITORY / "compose.yaml"), *arguments]
        done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    yield call
    call("down", "--volumes", "--remove-orphans")


def run(compose: Compose, *arguments: str, code: int = 0) -> str:
    return compose("run", "--rm", "-T", *arguments, code=code)


def test_from_an_empty_database_to_a_model(compose: Compose, docker_engine: Engine, port: int):
    run(compose, "migrate", "-v0")
    run(compose, "roles")
    run(compose, "owner", "load_demo")

    told = run(compose, "train", "--all-teams", "--all-articles", "--algo", "lgbm_tfidf", "--verbose", "3")
    again = run(compose, "train", "--team", "neurology", "--all-articles", "--algo", "lgbm_tfidf")
    (predicted,) = json.loads(run(compose, "predict", *PREDICTED, "--threshold", "best-f1", "--output", "json"))

    assert told.count("Finished version") == 3
    assert again.count("_2 in ") == 2
    assert (predicted["result"], predicted["new predictions"]) == ("success", predicted["processed"])
    assert predicted["processed"] > 0
    assert "5 version folders, all complete and unchanged" in run(compose, "manage", "verify_models")
    assert run(compose, "reconcile") == "0 unfinished runs, 0 closed\n"
    assert "role gregory_run reads subjects, " in run(compose, "manage", "preflight", "--only", "database")

    run(compose, "pages-role")
    operator = ("--noinput", "--username", "operator", "--email", "operator@example.org")
    run(compose, "-e", "DJANGO_SUPERUSER_PASSWORD", "owner", "createsuperuser", *operator)
    compose("up", "--detach", "pages")
    service = "label=com.docker.compose.service=pages"
    wait_for(lambda: docker_engine.must("ps", "--quiet", "--filter", service, "--filter", "health=healthy"))
    assert "migraine-prevention" in after_login(f"http://127.0.0.1:{port}", password="of-the-operator")


def after_login(address: str, *, password: str) -> str:
    """The first page of the operator in a browser of this host."""
    browser = build_opener(HTTPCookieProcessor(cookies := CookieJar()))
    browser.open(f"{address}/login/", timeout=120).close()
    (token,) = [cookie.value for cookie in cookies if cookie.name == "csrftoken"]
    form = urlencode({"csrfmiddlewaretoken": token, "username": "operator", "password": password, "next": "/"})
    with browser.open(f"{address}/login/", form.encode(), timeout=120) as page:
        return str(page.read().decode())


def test_usage_error_keeps_its_exit_code(compose: Compose):
    assert run(compose, "train", "--subject", "x", code=2) == ""
