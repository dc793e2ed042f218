"""The alerts of the chart fire, as Prometheus' own evaluator finds, and its dashboard asks for metrics that exist."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.test_chart import only, refusal
from tests.measurements import labels_of_metrics
from tests.strict import need
from tools import promtool
from tools.chart import monitoring
from tools.chart.helm import template

HERE = 'namespace="gregory-train"'
# Labels that Prometheus adds to each series of a pod.
TARGET = {"namespace", "pod"}
NAME = re.compile(r"\bgregory_[a-z_]+")


@dataclass(frozen=True, kw_only=True)
class Firing:
    """Series by their values, one a minute. The alert does not fire at minute `quiet`, and fires at minute `fires` with these labels."""

    series: Mapping[str, str]
    quiet: int
    fires: int
    summary: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: bool = True


SUBJECT = {"team": "neurology", "subject": "ms", "algorithm": "lstm", "kind": "train"}
OTHERS = 'team="neurology",algorithm="lstm",kind="train"'
FIRING = {
    "GregoryTrainingFailed": Firing(
        series={f'kube_job_status_failed{{{HERE},job_name="gregory-train-0a1b-a1"}}': "0x5 1x30"},
        quiet=4, fires=8, labels={"job_name": "gregory-train-0a1b-a1"}, summary="Job gregory-train-0a1b-a1 of a training run failed",
    ),
    "GregorySubmitterFailed": Firing(
        series={
            f'kube_job_status_failed{{{HERE},job_name="weekly-1"}}': "0x5 1x30",
            f'kube_job_owner{{{HERE},job_name="weekly-1",owner_kind="CronJob",owner_name="gregory-train-weekly"}}': "1x40",
        },
        quiet=4, fires=8, labels={"job_name": "weekly-1", "owner_name": "gregory-train-weekly"},
        summary="gregory-train-weekly did not submit every run",
    ),
    "GregoryReconcilerMissing": Firing(
        series={f'kube_deployment_status_replicas_available{{{HERE},deployment="gregory-train-reconciler"}}': "1x5 0x30"},
        quiet=18, fires=24, labels={"deployment": "gregory-train-reconciler"},
        summary="No reconciler closes the rows of terminated training runs",
    ),
    "GregoryRunFailed": Firing(
        series={
            f'gregory_runs{{{HERE},kind="train",state="failed",reason="killed"}}': "7x300",
            f'gregory_runs{{{HERE},kind="train",state="failed",reason="out_of_memory"}}': "_x90 2x200",
            f"gregory_unknown_runs{{{HERE}}}": "0x300",
        },
        quiet=80, fires=100, labels={"kind": "train", "reason": "out_of_memory"},
        summary="2 runs failed within an hour with the reason out_of_memory",
    ),
    "GregoryNoSuccess": Firing(
        # Times before 1970, because the time of a test begins at 0.
        series={
            f'gregory_last_success_timestamp_seconds{{{HERE},subject="ms",{OTHERS}}}': "-1300000x200",
            f'gregory_first_attempt_timestamp_seconds{{{HERE},subject="new",{OTHERS}}}': "-1100000x200",
        },
        quiet=50, fires=62, labels=SUBJECT, summary="neurology/ms has had no success with lstm (train) for 15d 2h 8m 40s",
    ),
    "GregoryReconcilerStuck": Firing(
        series={f'gregory_seconds_since_last_pass{{{HERE},pod="a"}}': "10x5 400x30"},
        quiet=8, fires=14, summary="No reconciler has completed a pass for 6m 40s",
    ),
    "GregoryReconcileLag": Firing(
        series={f"gregory_reconcile_lag_seconds{{{HERE}}}": "10x5 2000x30"},
        quiet=8, fires=14, summary="A run that counts as running has had no heartbeat for 33m 20s",
    ),
    "GregoryRunsUnknown": Firing(
        series={f"gregory_unknown_runs{{{HERE}}}": "0x5 2x30"}, quiet=18, fires=24, summary="2 runs cannot be observed"
    ),
    "GregoryApiErrors": Firing(
        series={f'gregory_api_errors_total{{{HERE},runner="kubernetes"}}': "0x5 1+1x40"},
        quiet=18, fires=28, labels={"runner": "kubernetes"}, summary="The API of the runner kubernetes has failed for 15 minutes",
    ),
    "GregoryDatabaseErrors": Firing(
        series={f'gregory_reconcile_passes_total{{{HERE},result="database_error"}}': "0x5 1+1x40"},
        quiet=18, fires=28, summary="Passes of the reconciler have failed at the database for 15 minutes",
    ),
    "GregoryQueueSlow": Firing(
        series={f'gregory_oldest_queued_seconds{{{HERE},state="pending"}}': "10x5 22000x30"},
        quiet=8, fires=14, labels={"state": "pending"}, summary="A pending run has waited for 6h 6m 40s",
    ),
    "GregoryMetricsMissing": Firing(
        series={'gregory_seconds_since_last_pass{namespace="other"}': "1x30"},
        quiet=14, fires=18, summary="Prometheus reads no metrics of a reconciler",
    ),
    "GregoryPagesFailing": Firing(
        series={
            f'gregory_page_requests_total{{{HERE},page="run",status="200"}}': "0+9x40",
            f'gregory_page_requests_total{{{HERE},page="run",status="500"}}': "0x5 1+1x40",
        },
        quiet=8, fires=14, labels={"page": "run"}, summary="The operator page run answers with errors",
    ),
    "GregoryLoginsRefused": Firing(
        series={f"gregory_refused_logins_total{{{HERE}}}": "0+1x20 30+20x20"},
        quiet=20, fires=30, summary="More than 50 logins to the operator pages were refused within 10 minutes",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """Series with which the alert fires at none of these minutes."""

    alert: str
    series: Mapping[str, str]
    minutes: tuple[int, ...]


QUIET = {
    "a new Prometheus sees failures of last week": Quiet(
        alert="GregoryRunFailed",
        series={
            f'gregory_runs{{{HERE},kind="train",state="failed",reason="killed"}}': "7x200",
            f"gregory_unknown_runs{{{HERE}}}": "0x200",
        },
        minutes=(1, 30, 59, 70, 190),
    ),
    "one of two reconcilers works": Quiet(
        alert="GregoryReconcilerStuck",
        series={f'gregory_seconds_since_last_pass{{{HERE},pod="{pod}"}}': f"{seconds}x60" for pod, seconds in (("a", 10), ("b", 900))},
        minutes=(30, 59),
    ),
    "an API failed once": Quiet(
        alert="GregoryApiErrors",
        series={f'gregory_api_errors_total{{{HERE},runner="docker"}}': "0x5 1x60"},
        minutes=(10, 30, 59),
    ),
}


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    return monitoring.rules()


@pytest.fixture(scope="module")
def evaluator() -> None:
    need(promtool.usable(), what="promtool", remedy=promtool.REMEDY)
    promtool.fetch()


def evaluated(rules: list[dict[str, Any]], tests: list[dict[str, Any]], folder: Path) -> str:
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "ours", "rules": rules}]}), encoding="utf-8")
    test = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "test.yaml").write_text(yaml.safe_dump(test), encoding="utf-8")
    return promtool.promtool("test", "rules", "test.yaml", folder=folder)


def test_every_alert_has_a_test(rules: list[dict[str, Any]]):
    assert [rule["alert"] for rule in rules] == [*FIRING]


@pytest.mark.usefixtures("evaluator")
def test_each_alert_fires_after_its_time_and_not_before(rules: list[dict[str, Any]], tmp_path: Path):
    tests = []
    for rule in rules:
        firing = FIRING[rule["alert"]]
        labels = {"severity": "warning", "namespace": "gregory-train", **firing.labels}
        description = rule["annotations"]["description"]
        for label, value in labels.items():
            description = description.replace(f"{{{{ $labels.{label} }}}}", value)
        annotations = {"summary": firing.summary, "description": description}
        at = [(firing.quiet, []), (firing.fires, [{"exp_labels": labels, "exp_annotations": annotations}])]
        tests.append(
            {
                "name": rule["alert"],
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in firing.series.items()],
                "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": rule["alert"], "exp_alerts": alerts} for minute, alerts in at],
            }
        )

    assert "SUCCESS" in evaluated(rules, tests, tmp_path)


@pytest.mark.usefixtures("evaluator")
def test_alerts_stay_quiet(rules: list[dict[str, Any]], tmp_path: Path):
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": one, "values": values} for one, values in quiet.series.items()],
            "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": quiet.alert, "exp_alerts": []} for minute in quiet.minutes],
        }
        for name, quiet in QUIET.items()
    ]

    assert "SUCCESS" in evaluated(rules, tests, tmp_path)


@pytest.mark.usefixtures("evaluator")
def test_prometheus_reads_the_queries_of_the_dashboard(tmp_path: Path):
    queries = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(monitoring.queries())]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": queries}]}), encoding="utf-8")

    assert f"{len(queries)} rules found" in promtool.promtool("check", "rules", "queries.yaml", folder=tmp_path)


def test_queries_and_alerts_name_metrics_that_exist(rules: list[dict[str, Any]]):
    served = labels_of_metrics()
    expressions = [*monitoring.queries(), *(rule["expr"] for rule in rules if "gregory_" in rule["expr"])]

    assert {name for one in expressions for name in NAME.findall(one)} - served.keys() == set()
    for one in expressions:
        known = TARGET.union(*(served[name] for name in NAME.findall(one)))
        grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", one)
        selected = re.findall(r"[{,]\s*([a-z_]+)=", one)
        assert {name.strip() for group in grouped for name in group.split(",")}.union(selected) <= known, one


def test_the_dashboard_shows_every_metric():
    shown = {name for one in monitoring.queries() for name in NAME.findall(one)}

    assert labels_of_metrics().keys() - shown == {"gregory_reconcile_results_total", "gregory_subjects_left_out"}


def test_alerts_without_served_metrics_are_those_of_the_cluster(rules: list[dict[str, Any]]):
    rule = only(template(values={"prometheusRule": {"enabled": True}}), "PrometheusRule")

    assert rule["spec"]["groups"][0]["rules"] == [one for one in rules if "gregory_" not in one["expr"]]


def test_the_port_is_served_at_the_address_of_the_pod_and_reached_by_named_sources():
    sources = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = template(
        values={"reconciler": {"metrics": {"enabled": True, "port": 9000}}, "networkPolicy": {"metricsFrom": sources}}
    )  # fmt: skip

    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["ports"] == [{"name": "metrics", "containerPort": 9000, "protocol": "TCP"}]
    variables = {one["name"]: one for one in container["env"]}
    assert variables["GREGORY_METRICS_PORT"]["value"] == "9000"
    assert variables["GREGORY_METRICS_HOST"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    policy = only(objects, "NetworkPolicy", "-metrics")["spec"]
    assert policy["ingress"] == [{"ports": [{"protocol": "TCP", "port": 9000}], "from": sources}]


def test_the_pages_serve_metrics_on_a_port_of_their_own():
    objects = template(values={"pages": monitoring.VALUES["pages"], "podMonitor": {"enabled": True}})

    container = only(objects, "Deployment", "-pages")["spec"]["template"]["spec"]["containers"][0]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {"metrics": 9465, "http": 8000}
    variables = {one["name"]: one for one in container["env"]}
    assert variables["GREGORY_WEB_METRICS_PORT"]["value"] == "9465"
    assert "GREGORY_METRICS_PORT" not in variables
    assert only(objects, "NetworkPolicy", "-pages-metrics")["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 9465}]}]
    assert only(objects, "PodMonitor")["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "interval": "30s"}]
    # The Service leads to the pages only.
    assert [one["targetPort"] for one in only(objects, "Service")["spec"]["ports"]] == ["http"]


def test_a_monitor_without_metrics_is_refused(tmp_path: Path):
    assert "podMonitor.enabled: no reconciler and no page serves metrics. Set" in refusal({"podMonitor": {"enabled": True}}, tmp_path)


def test_the_objects_are_the_reviewed_ones():
    assert monitoring.objects() == list(yaml.safe_load_all(monitoring.FILE.read_text(encoding="utf-8"))), (
        "make chart, and review the difference"
    )
