"""Recorded objects of a real cluster, one file for each cause. The table test of the diagnosis reads them.

`pytest tests/kubernetes --record` writes them again.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from gregory.launch.kubernetes.cluster_sections import Deadlines
from gregory.launch.kubernetes.diagnose.job import observe_job
from gregory.launch.kubernetes.diagnose.pod_status import Events
from gregory.launch.kubernetes.labels import ATTEMPT, KUEUE_QUEUE, RUN_ID

RECORDED = Path(__file__).parents[1] / "launch" / "kubernetes" / "recorded"
# The diagnosis reads none of these keys, and some of them change with every recording.
_LEFT_OUT = {
    "managedFields", "env", "volumeMounts", "tolerations", "securityContext", "podIPs", "podIP", "hostIP", "hostIPs",
    "containerID", "imageID", "annotations", "podFailurePolicy", "resourceVersion", "dnsPolicy", "schedulerName", "qosClass",
    "observedGeneration", "lastProbeTime", "user", "terminationMessagePath", "terminationMessagePolicy", "preemptionPolicy",
    "enableServiceLinks", "ownerReferences", "allocatedResources", "selector", "generation", "generateName", "finalizers",
    "command", "restartCount", "serviceAccount", "namespace", "imagePullPolicy", "automountServiceAccountToken",
    "hostUsers", "priority", "template", "uid", "manualSelector", "completionMode", "parallelism", "completions", "backoffLimit",
    "ttlSecondsAfterFinished", "podReplacementPolicy", "uncountedTerminatedPods", "ready",
    "serviceAccountName", "requests",
}  # fmt: skip
_LABELS = (RUN_ID, ATTEMPT, KUEUE_QUEUE)


class Recorder:
    """Replaces `observe_job` and keeps its last arguments."""

    def __init__(self) -> None:
        self._asked: dict[str, Any] = {}
        self._diagnose: Callable[..., Any] = observe_job

    def __call__(self, job: Any, pods: Any, events: Events, *, name: str, now: datetime, deadlines: Deadlines) -> Any:
        told = {f"{kind}/{about}": dict(said) for (kind, about), said in events.by_object.items() if about.startswith(name)}
        self._asked = {
            "name": name,
            "now": now.isoformat(),
            "deadlines": deadlines.model_dump(by_alias=True, exclude_unset=True),
            "job": job,
            "pods": list(pods),
            "events": told,
            "claims": dict(events.claims),
        }
        return self._diagnose(job, pods, events, name=name, now=now, deadlines=deadlines)

    def keep(self, cause: str) -> None:
        (RECORDED / f"{cause}.yaml").write_text(yaml.safe_dump(_trimmed(self._asked), sort_keys=False, allow_unicode=True, width=140))


def _trimmed(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return [_trimmed(inner) for inner in value] if isinstance(value, list) else value
    kept = {key: _trimmed(inner) for key, inner in value.items() if key not in _LEFT_OUT}
    if "labels" in kept:
        kept["labels"] = {key: label for key, label in kept["labels"].items() if key in _LABELS}
    return kept
