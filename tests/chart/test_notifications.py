"""The notifications of the chart: off by default, only for the reconciler, secrets by reference, and refused without what they need."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gregory.env import read_environment
from gregory.launch.kubernetes.plaintext_secrets import find_plaintext_secrets
from gregory.reporting.notices import check_templates
from tests.chart.test_chart import name_of, of_kind, only, refusal
from tests.docs.markdown import blocks
from tools.chart.helm import template

pytestmark = pytest.mark.usefixtures("each_helm")
MAIL = {"email": ["a@example.org", "b@example.org"], "smtp": {"host": "mail.example.org", "user": "gregory", "existingSecret": "mail"}}
WEBHOOK = {"webhook": {"existingSecret": "chat", "key": "address", "port": 8443}}


def variables(objects: list[dict[str, Any]], suffix: str) -> dict[str, dict[str, Any]]:
    (container,) = only(objects, "Deployment", suffix)["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one for one in container["env"] if one["name"].startswith(("GREGORY_NOTIFY", "EMAIL", "DEFAULT_FROM"))}


def test_they_are_off_by_default():
    objects = template()

    assert variables(objects, "-reconciler") == {}
    assert "gregory-train-notifications" not in [name_of(one) for one in of_kind(objects, "NetworkPolicy")]


def test_the_reconciler_reads_the_addresses_and_the_secrets_by_reference(monkeypatch: pytest.MonkeyPatch):
    objects = template(values={"notifications": MAIL | WEBHOOK | {"noSuccessDays": 3}})

    found = variables(objects, "-reconciler")
    assert {name: one["valueFrom"]["secretKeyRef"] for name, one in found.items() if "valueFrom" in one} == {
        "EMAIL_HOST_PASSWORD": {"name": "mail", "key": "EMAIL_HOST_PASSWORD"},
        "GREGORY_NOTIFY_WEBHOOK": {"name": "chat", "key": "address"},
    }
    for name, one in found.items():
        if "value" in one:
            monkeypatch.setenv(name, one["value"])
    env = read_environment()
    assert env.GREGORY_NOTIFY_EMAIL == "a@example.org,b@example.org"
    assert (env.EMAIL_HOST, env.EMAIL_PORT, env.EMAIL_USE_TLS, env.EMAIL_HOST_USER) == ("mail.example.org", 587, True, "gregory")
    assert env.GREGORY_NOTIFY_DAYS == 3
    assert [place for one in objects for place in find_plaintext_secrets(one)] == []


def test_the_reconciler_reads_the_templates_of_the_values(tmp_path: Path):
    (block,) = [block for block in blocks("docs/monitoring.md") if block.name == "notifications.yaml"]
    values = yaml.safe_load(block.text)
    objects = template(values=values)

    folder = variables(objects, "-reconciler")["GREGORY_NOTIFY_TEMPLATES"]["value"]
    pod = only(objects, "Deployment", "-reconciler")["spec"]["template"]
    (mount,) = [one for one in pod["spec"]["containers"][0]["volumeMounts"] if one["mountPath"] == folder]
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == mount["name"]]
    files = only(objects, "ConfigMap", volume["configMap"]["name"])["data"]
    assert files == {"failed.txt": values["notifications"]["templates"]["failed"]}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    check_templates(tmp_path)
    # Another text starts the pod anew.
    changed = template(values={"notifications": values["notifications"] | {"templates": {"failed": "x"}}})
    annotations = [only(one, "Deployment", "-reconciler")["spec"]["template"]["metadata"]["annotations"] for one in (objects, changed)]
    assert annotations[0] != annotations[1]


def test_only_the_reconciler_may_reach_the_ports_of_the_channels():
    to = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    objects = template(values={"notifications": MAIL | WEBHOOK, "networkPolicy": {"notificationsTo": to}})

    policy = only(objects, "NetworkPolicy", "-notifications")["spec"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "reconciler"
    assert policy["egress"] == [{"ports": [{"protocol": "TCP", "port": 587}, {"protocol": "TCP", "port": 8443}], "to": to}]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"email": ["a@example.org"]}, "notifications.smtp.host is empty: set it to the mail server"),
        ({"email": ["a@example.org,b@example.org"]}, "at '/notifications/email/0'"),
        (MAIL | {"smtp": {"host": "mail.example.org", "user": "gregory"}}, "notifications.smtp.existingSecret is empty: set it to"),
        ({"templates": {"failed": "x"}}, "notifications.templates: no message is sent. Set notifications.email or"),
        (WEBHOOK | {"templates": {"failure": "x"}}, "at '/notifications/templates': additional properties 'failure' not allowed"),
    ],
)
def test_a_wrong_value_is_refused(values: dict[str, Any], expected: str, tmp_path):
    assert expected in refusal({"notifications": values}, tmp_path)


def test_they_need_a_reconciler(tmp_path):
    values = {"notifications": WEBHOOK, "reconciler": {"enabled": False}}

    assert "notifications: the reconciler sends them. Set reconciler.enabled to true" in refusal(values, tmp_path)


def test_a_variable_is_given_once(tmp_path):
    mail = {"name": "EMAIL_HOST", "valueFrom": {"configMapKeyRef": {"name": "mail", "key": "host"}}}
    values = {"notifications": MAIL, "controller": {"env": [mail]}}

    assert 'controller.env: the chart sets "EMAIL_HOST", remove it' in refusal(values, tmp_path)
