"""A diagnosis reads nothing that is left out of memory: it is the same for whole objects, also with the fields that a server adds."""

from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gregory.launch.kubernetes import orphans
from gregory.launch.kubernetes.cluster_sections import Deadlines
from gregory.launch.kubernetes.diagnose import reduce
from gregory.launch.kubernetes.diagnose.job import observe_job, wants_events
from gregory.launch.kubernetes.diagnose.pod_status import Events, indexed
from tests.kubernetes.recording import RECORDED
from tools import golden_jobs

ADDED = {"managedFields": [{"manager": "kubelet", "fieldsV1": {"f:metadata": {}}}], "ownerReferences": [], "finalizers": []}


@pytest.mark.parametrize("file", sorted(RECORDED.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_diagnosis_is_that_of_the_whole_objects(file: Path):
    recording = yaml.safe_load(file.read_text(encoding="utf-8"))
    job, pods = recording["job"], recording["pods"]
    for thing in [*pods, *([job] if job else [])]:
        thing["metadata"] |= ADDED
    kept = None if job is None else reduce.job(job), [reduce.pod(pod) for pod in pods]

    by_object = {(kind, name): told for about, told in recording["events"].items() for kind, _, name in [about.partition("/")]}
    facts: dict[str, Any] = {"name": recording["name"], "now": datetime.fromisoformat(recording["now"])}
    facts["deadlines"] = Deadlines.model_validate(recording["deadlines"])
    claims = recording.get("claims", {})

    for events in (Events(by_object=by_object, claims=claims), Events(by_object={}, claims=claims)):
        assert observe_job(*kept, events, **facts) == observe_job(job, pods, events, **facts)
    assert wants_events(*kept) == wants_events(job, pods)
    assert all("managedFields" not in thing["metadata"] for thing in [*kept[1], *([kept[0]] if kept[0] else [])])


@pytest.mark.parametrize(
    ("kind", "name", "is_kept"),
    [
        ("Job", "run-1", True),
        ("Pod", "run-1-abcde", True),
        ("Workload", "job-run-1-12ab3", True),
        ("PersistentVolumeClaim", "models", True),
        ("Job", "run-10", False),
        ("Pod", "run-10-abcde", False),
        ("Pod", "run-1", False),
        ("Node", "run-1", False),
    ],
)
def test_events_of_other_objects_are_not_kept(kind: str, name: str, is_kept: bool):
    event = {
        "metadata": {"name": "e", "managedFields": []},
        "involvedObject": {"kind": kind, "name": name},
        "reason": "Pulling",
        "message": "Pulling image",
        "lastTimestamp": "2026-11-24T18:00:00Z",
    }

    kept = reduce.event(event, {"run-1"})

    assert (kept is not None) == is_kept
    if kept is not None:
        assert "metadata" not in kept
        assert indexed([kept]) == indexed([event])


@pytest.mark.parametrize("whole", [{"metadata": {}}, {"metadata": {}, "spec": None}, {}])
def test_objects_that_are_not_understood_stay_whole(whole: dict[str, Any]):
    assert reduce.job(whole) is whole
    assert reduce.pod(whole) is whole
    assert orphans.reduced(whole) is whole


@pytest.mark.parametrize("file", sorted(golden_jobs.SOURCES))
def test_the_owner_of_a_job_is_known_without_its_other_fields(file: str):
    ours = golden_jobs.rendered(file)
    foreign = deepcopy(ours)
    for variable in foreign["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "DB_HOST":
            variable["value"] = "another.example.org"

    answers = [orphans.is_orphan(orphans.reduced(job), [], ours=ours) for job in (ours, foreign)]

    assert answers == [orphans.is_orphan(job, [], ours=ours) for job in (ours, foreign)] == [True, False]
    assert len(str(orphans.reduced(ours))) < len(str(ours)) / 2
