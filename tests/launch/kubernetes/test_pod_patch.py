"""The merge of podTemplatePatch, and the parts that it must not change."""

from copy import deepcopy
from typing import Any

import pytest

from gregory.launch.kubernetes.pod_patch import OUR_VARIABLES, merged, refusal

BASE: dict[str, Any] = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {
        "dnsPolicy": "Default",
        "tolerations": [{"key": "gpu"}],
        "containers": [
            {
                "name": "run",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "envFrom": [{"secretRef": {"name": "one"}}],
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
            }
        ],
    },
}


@pytest.mark.parametrize(
    ("patch", "path", "expected"),
    [
        ({}, (), BASE),
        ({"metadata": {"labels": {"b": "2"}}}, ("metadata", "labels"), {"a": "1", "b": "2"}),
        ({"metadata": {"labels": {"a": "3"}}}, ("metadata", "labels"), {"a": "3"}),
        ({"spec": {"dnsPolicy": None}}, ("spec", "dnsPolicy"), None),
        ({"spec": {"hostAliases": [{"ip": "10.0.0.1"}]}}, ("spec", "hostAliases"), [{"ip": "10.0.0.1"}]),
        ({"spec": {"tolerations": [{"key": "sku"}]}}, ("spec", "tolerations"), [{"key": "sku"}]),
        ({"spec": {"dnsConfig": {"options": None, "searches": ["x"]}}}, ("spec", "dnsConfig"), {"searches": ["x"]}),
        (
            {"spec": {"containers": [{"name": "run", "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]}]}},
            ("spec", "containers", 0, "env"),
            [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        ),
        (
            {"spec": {"containers": [{"name": "run", "env": [{"name": "A", "value": None, "valueFrom": {"x": 1}}]}]}},
            ("spec", "containers", 0, "env", 0),
            {"name": "A", "valueFrom": {"x": 1}},
        ),
        (
            {"spec": {"containers": [{"name": "run", "envFrom": [{"secretRef": {"name": "two"}}]}]}},
            ("spec", "containers", 0, "envFrom"),
            [{"secretRef": {"name": "two"}}],
        ),
        # One volume may be mounted twice.
        (
            {"spec": {"containers": [{"name": "run", "volumeMounts": [{"name": "models", "mountPath": "/old"}]}]}},
            ("spec", "containers", 0, "volumeMounts"),
            [{"name": "models", "mountPath": "/models"}, {"name": "models", "mountPath": "/old"}],
        ),
        ({"spec": {"containers": [{"name": "sidecar", "image": "x"}]}}, ("spec", "containers", 1), {"name": "sidecar", "image": "x"}),
    ],
)
def test_merging(patch: dict[str, Any], path: tuple[str | int, ...], expected: Any):
    before = deepcopy((BASE, patch))

    found: Any = merged(BASE, patch)
    for step in path:
        found = found.get(step) if isinstance(step, str) else found[step]

    assert found == expected
    assert (BASE, patch) == before


def test_a_second_merge_changes_nothing():
    patch = {"metadata": {"labels": {"b": "2"}}, "spec": {"containers": [{"name": "run", "env": [{"name": "C", "value": "4"}]}]}}

    assert merged(merged(BASE, patch), patch) == merged(BASE, patch)


def of_run(**values: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "run", **values}]}}


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ({"containers": []}, "a pod template has no key containers; put it below metadata or spec"),
        ({"spec": None}, "spec must be a mapping"),
        ({"metadata": {"labels": None}}, "metadata.labels must be a mapping"),
        (
            {"metadata": {"labels": {"gregory-train/run-id": "x"}}},
            "metadata.labels.gregory-train/run-id cannot be patched: it identifies the run; remove it",
        ),
        (
            {"metadata": {"labels": {"gregory-train/attempt-token": None}}},
            "metadata.labels.gregory-train/attempt-token cannot be patched: it identifies the run; remove it",
        ),
        (
            {"metadata": {"labels": {"batch.kubernetes.io/controller-uid": "x"}}},
            "metadata.labels.batch.kubernetes.io/controller-uid cannot be patched: it identifies the run; remove it",
        ),
        (
            {"metadata": {"annotations": {"gregory-train/team": "x"}}},
            "metadata.annotations.gregory-train/team cannot be patched: it identifies the run; remove it",
        ),
        (
            {"spec": {"restartPolicy": "OnFailure"}},
            "spec.restartPolicy cannot be patched: a Job starts a run once, and a retry is another Job; remove it",
        ),
        ({"spec": {"containers": None}}, "spec.containers must be a list of objects with a name, which the merge needs"),
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers must be a list of objects with a name, which the merge needs"),
        ({"spec": {"volumes": [{"emptyDir": {}}]}}, "spec.volumes must be a list of objects with a name, which the merge needs"),
        (
            of_run(command=["sh"]),
            "spec.containers.run.command cannot be patched: the container runs the command of its image, `python -m job`; remove it",
        ),
        (
            {"spec": {"initContainers": [{"name": "prepare", "command": ["sh"]}]}},
            "spec.initContainers.prepare.command cannot be patched: the container runs the command of its image, `python -m job.prepare`; "
            "remove it",
        ),
        (
            of_run(volumeMounts=[{"name": "models", "mountPath": "/home/brunoamaral/gregory-ai/django/models/"}]),
            "spec.containers.run.volumeMounts /home/brunoamaral/gregory-ai/django/models/ cannot be patched: a run mounts only the folder "
            "of its subject; remove it",
        ),
        (
            of_run(args=["-c"]),
            "spec.containers.run.args cannot be patched: the container runs the command of its image, `python -m job`; remove it",
        ),
        (
            of_run(workingDir="/"),
            "spec.containers.run.workingDir cannot be patched: the container runs the command of its image, `python -m job`; remove it",
        ),
        (of_run(env=None), "spec.containers.run.env must be a list of objects with a name, which the merge needs"),
        *(
            (
                of_run(env=[{"name": name, "value": "x"}]),
                f"spec.containers.run.env.{name} cannot be patched: it is set for each run; remove it",
            )
            for name in sorted(OUR_VARIABLES)
        ),
    ],
)
def test_required_parts_cannot_be_patched(patch: dict[str, Any], reason: str):
    assert refusal(patch) == reason


@pytest.mark.parametrize(
    "patch",
    [
        {},
        {"metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}}},
        {"spec": {"containers": [{"name": "sidecar", "command": ["sh"], "image": "x"}], "hostAliases": [{"ip": "10.0.0.1"}]}},
        of_run(env=[{"name": "HTTPS_PROXY", "value": "proxy:3128"}]),
    ],
)
def test_other_parts_can_be_patched(patch: dict[str, Any]):
    assert refusal(patch) is None
