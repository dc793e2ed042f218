"""The operator pages of the chart: off by default, restricted, with a role of their own, and refused without what they need."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gregory.env import read_environment
from gregory.launch.kubernetes.plaintext_secrets import find_plaintext_secrets
from gregory.web.__main__ import bind
from gregory.web.commands import LONGEST_START
from tests.chart.test_chart import name_of, of_kind, only, refusal
from tests.docs.markdown import blocks
from tools.chart.helm import PAGE_VALUES, template

pytestmark = pytest.mark.usefixtures("each_helm")


def given(**changed: Any) -> dict[str, Any]:
    """The values of the document, with these keys of `pages` changed."""
    values = yaml.safe_load(PAGE_VALUES.read_text(encoding="utf-8"))
    return {"pages": values["pages"] | changed}


def test_they_are_off_by_default():
    assert [name_of(one) for one in template() if one["metadata"]["name"].endswith("-pages")] == []
    assert of_kind(template(values=given(ingress={})), "Ingress") == of_kind(template(values=given()), "HTTPRoute") == []


def test_the_request_of_a_browser_reaches_the_server(monkeypatch: pytest.MonkeyPatch):
    """Host, Ingress, port of the Service, named port of the pod, socket of the server, and the policy, each from the one before."""
    objects = template(values=given())
    (rule,) = only(objects, "Ingress")["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    service = only(objects, "Service", backend["name"])
    (served,) = [port for port in service["spec"]["ports"] if port["name"] == backend["port"]["name"]]
    pod = only(objects, "Deployment", "-pages")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (port,) = [port for port in container["ports"] if port["name"] == served["targetPort"]]
    variables = {each["name"]: each for each in container["env"]}

    for name in ("GREGORY_WEB_URL", "POSTGRES_USER"):
        monkeypatch.setenv(name, variables[name]["value"])
    url = read_environment().GREGORY_WEB_URL
    assert url == f"https://{rule['host']}"
    assert bind(url) == f"0.0.0.0:{port['containerPort']}"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert only(objects, "Ingress")["spec"]["tls"] == [{"hosts": [rule["host"]], "secretName": "models-example-org"}]
    policy = only(objects, "NetworkPolicy", "-pages")["spec"]
    assert policy["podSelector"]["matchLabels"] == service["spec"]["selector"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": port["containerPort"]}]}]
    assert {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {port["name"]}


def test_a_gateway_leads_to_the_same_service():
    """Its certificate is that of the listener. A start takes longer than the time that many gateways give a request."""
    (block,) = [block for block in blocks("docs/kubernetes.md") if block.name == "gateway.yaml"]
    route = yaml.safe_load(block.text)["pages"]["httpRoute"]
    objects = template(values=given(ingress={}, httpRoute=route | {"annotations": {"a": "b"}}))

    found = only(objects, "HTTPRoute")
    assert (found["apiVersion"], found["metadata"]["annotations"]) == ("gateway.networking.k8s.io/v1", {"a": "b"})
    (rule,) = found["spec"].pop("rules")
    assert found["spec"] == {"parentRefs": route["parentRefs"], "hostnames": [urlsplit(given()["pages"]["url"]).hostname]}
    assert rule == {"backendRefs": [{"name": name_of(only(objects, "Service")), "port": 80}], "timeouts": {"request": "120s"}}
    assert float(rule["timeouts"]["request"].removesuffix("s")) > LONGEST_START
    assert of_kind(objects, "Ingress") == []


def test_the_pod_is_restricted_and_has_its_own_role():
    objects = template(values=given())

    reconciler, pages = (only(objects, "Deployment", suffix)["spec"]["template"]["spec"] for suffix in ("-reconciler", "-pages"))
    for place in ("securityContext", "serviceAccountName"):
        assert pages[place] == reconciler[place]
    assert pages["containers"][0]["securityContext"] == reconciler["containers"][0]["securityContext"]
    variables = {each["name"]: each for each in pages["containers"][0]["env"]}
    assert variables["POSTGRES_USER"]["value"] == "gregory_web"
    secrets = {name: variables[name]["valueFrom"]["secretKeyRef"] for name in ("POSTGRES_PASSWORD", "SECRET_KEY")}
    assert secrets == {
        "POSTGRES_PASSWORD": {"name": "gregory-database", "key": "POSTGRES_WEB_PASSWORD"},
        "SECRET_KEY": {"name": "gregory-database", "key": "SECRET_KEY"},
    }
    assert [place for one in objects for place in find_plaintext_secrets(one)] == []


def test_without_an_ingress_there_is_a_service_and_the_proxy_alone_may_reach_it():
    proxy = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "proxy"}}}

    objects = template(values=given(ingress={}) | {"networkPolicy": {"pagesFrom": [proxy]}})

    assert of_kind(objects, "Ingress") == []
    assert only(objects, "Service")["spec"]["ports"][0]["port"] == 80
    test = {"podSelector": only(objects, "NetworkPolicy", "-pages-test")["spec"]["podSelector"]}
    assert only(objects, "NetworkPolicy", "-pages")["spec"]["ingress"][0]["from"] == [proxy, test]


class Login(BaseHTTPRequestHandler):
    """Answers only the request of a proxy that ended TLS."""

    def do_GET(self) -> None:
        asked = (self.path, self.headers["Host"], self.headers["X-Forwarded-Proto"])
        self.send_response(200 if asked == ("/login/", "models.example.org", "https") else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_the_test_of_the_release_asks_for_the_login():
    objects = template(values=given())
    test = only(objects, "Pod", "-pages-test")
    (container,) = test["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    service = name_of(only(objects, "Service"))

    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    policy = only(objects, "NetworkPolicy", "-pages-test")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= test["metadata"]["labels"].items()
    assert policy["egress"][0]["to"] == [{"podSelector": only(objects, "NetworkPolicy", "-pages")["spec"]["podSelector"]}]
    assert {name_of(one) for one in of_kind(objects, "Pod")} == {"gregory-train-preflight", "gregory-train-pages-test"}
    with HTTPServer(("127.0.0.1", 0), Login) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = variables["ADDRESS"].replace(f"//{service}/", f"//127.0.0.1:{server.server_port}/")
        ran = [
            subprocess.run([sys.executable, *container["command"][1:]], env={**variables, **changed}, capture_output=True, text=True)
            for changed in ({"ADDRESS": here}, {"ADDRESS": here, "HOST": "other.example.org"})
        ]
        server.shutdown()
    assert [(one.returncode, one.stdout) for one in ran] == [(0, "The operator pages answer with status 200\n"), (1, "")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (given(url=""), "pages.url is empty: set it to the address of the pages in browsers, such as https://models.example.org"),
        (given(url="http://models.example.org"), "at '/pages/url': 'http://models.example.org' does not match pattern"),
        (given(database={}), "pages.database: set existingSecret or passwordKey to the password of the role gregory_web"),
        (given(httpRoute={"enabled": True}), "pages.httpRoute.parentRefs is empty: name the Gateway, and in sectionName its listener"),
        (given(httpRoute={"parentRefs": [{"name": "public"}]}), "at '/pages/httpRoute/parentRefs/0': missing property 'sectionName'"),
        (given(httpRoute={"timeout": "2 minutes"}), "at '/pages/httpRoute/timeout': '2 minutes' does not match pattern"),
        (
            given() | {"models": {"accessModes": ["ReadWriteOnce"]}, "reconciler": {"mountModels": False}},
            "pages.mountModels: a claim without ReadWriteMany in models.accessModes would bind all runs to the node of the pages",
        ),
        (
            given()
            | {"controller": {"env": [{"name": "SECRET_KEY", "valueFrom": {"secretKeyRef": {"name": "other", "key": "SECRET_KEY"}}}]}},
            'controller.env: the chart sets "SECRET_KEY", remove it',
        ),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_made(values: dict[str, Any], expected: str, tmp_path: Path):
    assert expected in refusal(values, tmp_path)
