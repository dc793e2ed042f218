"""`/metrics` of the operator pages: on a port of its own, with labels that no browser can make, and with the figures of the database."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError
from django.test import Client, override_settings
from django.urls import reverse
from prometheus_client.parser import text_string_to_metric_families

from gregory.web import metrics
from gregory.web.__main__ import main
from gregory.web.metrics import PageMetrics, beside
from tests.web.conftest import Tenant
from tools.installation import REPOSITORY, Installation
from tools.ports import free_port


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[PageMetrics]:
    """Counters that begin at 0."""
    fresh = PageMetrics()
    monkeypatch.setattr(metrics, "served", fresh)
    return fresh


def scraped(found: PageMetrics) -> dict[str, float]:
    """The values by name and labels, as Prometheus reads them from the port of the metrics."""

    def pages(environ: object, start_response: object) -> list[bytes]:
        raise AssertionError("the port of the metrics has no page")

    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "served", found)
        patch.setattr(metrics, "close_connection", lambda: None)
        asked = {"gunicorn.socket": server, "PATH_INFO": "/metrics", "REQUEST_METHOD": "GET"}
        with override_settings(WEB_METRICS_PORT=server.getsockname()[1]):
            answer = beside(pages)(asked, lambda status, headers: None)
    text = b"".join(answer).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {" ".join([one.name, *(f"{name}={value}" for name, value in sorted(one.labels.items()))]): one.value for one in samples}


@pytest.mark.django_db
def test_requests_are_counted_by_route_and_status(ours: Tenant, served: PageMetrics):
    for run_id in (ours.run.run_id, "unknown"):
        ours.client.get(reverse("admin:run", args=[run_id]))
    ours.client.get("/no/such/page?<evil>")
    ours.client.get("/healthz")

    found = scraped(served)

    counted = {name: value for name, value in found.items() if name.startswith("gregory_page_requests_total")}
    assert counted == {
        "gregory_page_requests_total page=run status=200": 1,
        "gregory_page_requests_total page=run status=404": 1,
        "gregory_page_requests_total page=other status=404": 1,
    }
    assert 0 < found["gregory_page_seconds_total page=run"] < 600
    assert found["gregory_runs kind=train reason= state=pending"] == 1


@pytest.mark.django_db
def test_refused_logins_are_counted(ours: Tenant):
    before = scraped(metrics.served)["gregory_refused_logins_total"]

    Client().post(reverse("admin:login"), {"username": "ours-member", "password": "wrong"})

    assert scraped(metrics.served)["gregory_refused_logins_total"] == before + 1


@pytest.mark.django_db
def test_a_database_that_is_away_leaves_its_figures_out(served: PageMetrics, monkeypatch: pytest.MonkeyPatch):
    assert "gregory_unknown_runs" in scraped(served)
    monkeypatch.setattr("gregory.management.metrics_server.MEASURE_SECONDS", 0.0)

    def away() -> None:
        raise OperationalError("the server is gone")

    monkeypatch.setattr("gregory.runs.store.measure", away)

    found = scraped(served)
    assert "gregory_unknown_runs" not in found
    assert found["gregory_refused_logins_total"] == 0


def test_a_unix_socket_has_the_pages_only(served: PageMetrics):
    """gunicorn takes SERVER_PORT from the header Host there."""
    ours, browser = socket.socketpair(socket.AF_UNIX)

    with ours, browser, override_settings(WEB_METRICS_PORT=9465):
        application = beside(lambda environ, start_response: [b"the pages"])
        assert application({"gunicorn.socket": ours, "SERVER_PORT": "9465"}, lambda status, headers: None) == [b"the pages"]


def test_the_port_of_the_pages_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("GREGORY_WEB_METRICS_PORT", "8000")

    with pytest.raises(SystemExit, match="2"):
        main([])

    assert "GREGORY_WEB_METRICS_PORT 8000 is the port of the pages: choose another one" in capsys.readouterr().err


def test_the_server_has_the_metrics_on_their_port_and_the_pages_on_theirs(migrated_database: Path, tmp_path: Path):
    installation = Installation(tmp_path / "installation")
    shutil.copy(migrated_database, installation.environment["SQLITE_FILE"])
    port = free_port()
    pages, figures = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{port}"
    settings = {"DJANGO_SETTINGS_MODULE": "tests.web_settings", "GREGORY_WEB_URL": pages, "GREGORY_WEB_METRICS_PORT": str(port)}
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "gregory.web"],
            cwd=REPOSITORY,
            env={**os.environ, **installation.environment, **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    until = time.monotonic() + 300
    try:
        while (found := asked(f"{figures}/metrics")) is None:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        assert b"gregory_unknown_runs 0.0" in found
        # The header Host of a browser does not choose the application.
        assert b"gregory_unknown_runs" not in (asked(f"{pages}/metrics", Host=figures.removeprefix("http://")) or b"")
        assert b"Log in" in (asked(f"{pages}/login/") or b"")
        assert b"Log in" not in (asked(f"{figures}/login/") or b"")
    finally:
        server.terminate()
        server.wait(timeout=300)


def asked(address: str, **headers: str) -> bytes | None:
    """The body of the answer, also of a refusal. None if nothing answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=300) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()
    except OSError:
        return None
