"""The objects of the chart for monitoring: their values, the expected objects, the rules and the queries of the dashboard."""

import json
from typing import Any

from tools.chart.helm import CHART, DEFAULT, template

# The objects that VALUES add to the default ones or change.
FILE = DEFAULT.with_name("monitoring.yaml")
VALUES: dict[str, Any] = {
    "reconciler": {"metrics": {"enabled": True}},
    "pages": {
        "enabled": True,
        "url": "https://models.example.org",
        "database": {"passwordKey": "POSTGRES_WEB_PASSWORD"},
        "metrics": {"enabled": True},
    },
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enabled": True},
}
DASHBOARD = CHART / "files" / "dashboard.json"


def objects() -> list[dict[str, Any]]:
    """The objects that monitoring adds and changes. The dashboard is a file of the chart, so it is left out."""
    usual = template(values={"pages": VALUES["pages"] | {"metrics": {}}})
    made = [one for one in template(values=VALUES) if one not in usual]
    for one in made:
        if one["metadata"]["name"].endswith("-dashboard"):
            one["data"] = dict.fromkeys(one["data"], "...")
    return made


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    (rule,) = [one for one in template(values=VALUES) if one["kind"] == "PrometheusRule"]
    return [one for group in rule["spec"]["groups"] for one in group["rules"]]


def queries() -> list[str]:
    """The queries of the dashboard, with values instead of Grafana's variables."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [one.replace("$namespace", ".*").replace("$__rate_interval", "5m") for one in found]
