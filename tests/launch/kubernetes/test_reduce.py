"""A diagnosis reads nothing that is left out of memory: it is the same for whole objects, also with the fields that a server adds."""

import json
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
from gregory.launch.kubernetes.pages import ReadPage
from tests.kubernetes.recording import RECORDED
from tools import golden_jobs

ADDED = {"managedFields": [{"manager": "kubelet", "fieldsV1": {"f:metadata": {}}}], "ownerReferences": [], "finalizers": []}


def page(*objects: Any) -> bytes:
    """A page of a list, as the server sends it."""
    return json.dumps({"kind": "List", "metadata": {}, "items": objects}).encode()


def part(read: ReadPage, whole: Any) -> Any:
    """The part of one object that is read."""
    (kept,) = read(page(whole))["items"]
    return kept


@pytest.mark.parametrize("file", sorted(RECORDED.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_diagnosis_is_that_of_the_whole_objects(file: Path):
    recording = yaml.safe_load(file.read_text(encoding="utf-8"))
    job, pods = recording["job"], recording["pods"]
    for thing in [*pods, *([job] if job else [])]:
        thing["metadata"] |= ADDED
    kept = None if job is None else part(reduce.jobs, job), [part(reduce.pods, pod) for pod in pods]

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

    kept = reduce.events(page(event), {"run-1"})["items"]

    assert len(kept) == is_kept
    if is_kept:
        assert "metadata" not in kept[0]
        assert indexed(kept) == indexed([event])


@pytest.mark.parametrize(
    "content", [page({"metadata": {}, "spec": "none"}), page("none"), b'{"items": [{"metadata": {"name": "\xff"}}]}', b"<html>"]
)
def test_a_page_that_is_not_understood_is_no_page(content: bytes):
    """Then the client reads the page as a whole."""
    for read in (reduce.jobs, reduce.pods, orphans.read_jobs):
        with pytest.raises(ValueError, match="validation error"):
            read(content)


def test_the_values_of_the_fields_are_not_changed():
    status = {"phase": "Pending", "startTime": None, "conditions": None, "resourceClaimStatuses": [{"name": "gpu", "n": 2**70}]}
    pod = {"metadata": {"name": "p", "labels": {"a": "\u00e9"}}, "spec": {"activeDeadlineSeconds": 7, "volumes": None}, "status": status}

    assert part(reduce.pods, pod) == pod
    assert reduce.pods(b'{"items": null, "metadata": {"continue": "x"}}') == {"items": None, "metadata": {"continue": "x"}}


@pytest.mark.parametrize("file", sorted(golden_jobs.SOURCES))
def test_the_owner_of_a_job_is_known_without_its_other_fields(file: str):
    ours = golden_jobs.rendered(file)
    foreign = deepcopy(ours)
    for variable in foreign["spec"]["template"]["spec"]["containers"][0]["env"]:
        if variable["name"] == "DB_HOST":
            variable["value"] = "another.example.org"

    answers = [orphans.is_orphan(part(orphans.read_jobs, job), [], ours=ours) for job in (ours, foreign)]

    assert answers == [orphans.is_orphan(job, [], ours=ours) for job in (ours, foreign)] == [True, False]
    assert len(str(part(orphans.read_jobs, ours))) < len(str(ours)) / 2
