"""The trial of a container before any row: its request, its errors, and what a killed command leaves.

Docker's own client talks to a server that answers as a daemon does, because a real one is never slow at will.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest

from gregory.launch.docker import probe
from gregory.launch.docker.container import LABEL
from gregory.launch.docker.runner import DockerRunner
from gregory.launch.errors import PreconditionFailed, SubmitError
from gregory.launch.preconditions import probe_spec
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmSpec, RunSpec
from tools.launch_installation import installation

NEVER = "0001-01-01T00:00:00Z"


@dataclass(kw_only=True)
class Daemon:
    """The containers that the daemon lists, and the requests that it got. ends: whether a container ends. behind: its clock is late.

    asked: the number of questions about the daemon itself.
    """

    address: str = ""
    ends: bool = True
    behind: timedelta = timedelta()
    asked: int = 0
    code: int = 0
    log: str = ""
    containers: list[dict[str, Any]] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:
        path = path.partition("?")[0].removeprefix(f"/v{docker.constants.DEFAULT_DOCKER_API_VERSION}")
        match method, path.strip("/").split("/"):
            case "GET", ["version"]:
                return {"ApiVersion": docker.constants.DEFAULT_DOCKER_API_VERSION}
            case "GET", ["info"]:
                self.asked += 1
                time = (datetime.now(UTC) - self.behind).isoformat()
                return {"SecurityOptions": [], "SystemTime": time, "Name": "here", "ID": "1"}
            case "GET", ["images", *_]:
                return {"Id": "sha256:1", "Config": {"User": ""}}
            case "POST", ["containers", "create"]:
                self.created.append(body)
                self.containers.append({"Id": "tried", "Config": {"Labels": body["Labels"], "Tty": True}, "State": {"Status": "created"}})
                return {"Id": "tried"}
            case "POST", ["containers", _, "wait"]:
                return {"StatusCode": self.code}
            case "GET", ["containers", _, "logs"]:
                return self.log
            case "GET", ["containers", "json"]:
                return self.containers
            case "GET", ["containers", name, "json"]:
                return next(container for container in self.containers if container["Id"] == name)
            case "DELETE", ["containers", name]:
                self.removed.append(name)
        return ""


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A server on the loopback."""
    here, ended = Daemon(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            answer = here.answer(self.command, self.path, body)
            text = json.dumps(answer).encode() if answer else b""
            self.send_response_only(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if "/wait" in self.path and not here.ends:
                # The daemon sends the head of this answer at once, and the rest after the end.
                self.wfile.write(text[:1])
                ended.wait(30)
                return
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    here.address = f"tcp://127.0.0.1:{http.server_port}"
    yield here
    ended.set()
    http.shutdown()
    http.server_close()


@pytest.fixture
def runner(daemon: Daemon, tmp_path: Path, small_bundle: Path) -> DockerRunner:
    """A runner with this daemon."""
    (tmp_path / "models").mkdir(mode=0o777)
    return DockerRunner(
        installation(
            tmp_path / "models", bundle=small_bundle, DOCKER_HOST=daemon.address, POSTGRES_DB="gregory", GREGORY_DOCKER_USER="name"
        )
    )


def test_only_the_folders_of_the_runs_are_tried(runner: DockerRunner, daemon: Daemon, spec: RunSpec):
    models = tuple(AlgorithmSpec(algorithm=name, run_log_id=0, version="1") for name in ("lstm", "lgbm_tfidf"))

    runner.check([spec.model_copy(update={"algorithms": models})])

    (request,) = daemon.created
    only, _, folders = " ".join(request["Entrypoint"]).partition(" --folders ")
    assert only == "dumb-init -- python manage.py preflight --as-run --only database models"
    assert folders == f". ./{spec.label}/lstm ./{spec.label}/lgbm_tfidf"
    assert (daemon.removed, daemon.asked) == (["tried"], 1)


def test_only_containers_without_the_code_of_a_run_mount_all_models(runner: DockerRunner, daemon: Daemon, spec: RunSpec, tmp_path: Path):
    runner.check([spec])
    runner.submit(runner.render(spec))

    tried, prepared, run = daemon.created
    in_image = "/home/brunoamaral/gregory-ai/django/models"
    models = [[(mount["Source"], mount["Target"]) for mount in one["HostConfig"]["Mounts"]] for one in daemon.created]
    whole, of_subject = (f"{tmp_path}/models", in_image), (f"{tmp_path}/models/team/subject", f"{in_image}/team/subject")
    assert [(whole in found, of_subject in found) for found in models] == [(True, False), (True, False), (False, True)]
    assert tried["Entrypoint"][:4] == ["dumb-init", "--", "python", "manage.py"]
    assert (prepared["Entrypoint"], prepared["HostConfig"]["NetworkMode"]) == (["dumb-init", "--", "python", "-m", "job.prepare"], "none")
    assert [variable.partition("=")[0] for variable in prepared["Env"]] == ["GREGORY_RUN_SPEC"]
    assert "Entrypoint" not in run


def test_a_folder_that_cannot_be_made_is_the_end_of_the_run(runner: DockerRunner, daemon: Daemon, spec: RunSpec):
    daemon.code, daemon.log = 1, "the models folder /models cannot take a model: Permission denied"

    with pytest.raises(SubmitError, match=r'^the folder of the run could not be made: "the models folder /models cannot ') as caught:
        runner.submit(runner.render(spec))

    assert (caught.value.diagnosis.reason, daemon.removed, len(daemon.created)) == (Reason.STORAGE, ["tried"], 1)


def test_a_container_that_does_not_finish_is_told_as_that(
    runner: DockerRunner, daemon: Daemon, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
):
    daemon.ends = False
    monkeypatch.setattr(probe, "SECONDS", 1)
    models = (AlgorithmSpec(algorithm="lstm", run_log_id=0, version="1"),)

    with pytest.raises(
        PreconditionFailed, match=r"^a container for a run did not finish its check within 2 s; GREGORY_DOCKER_NETWORK and "
    ):
        runner.check([spec.model_copy(update={"algorithms": models})])

    assert daemon.removed == ["tried"]


def test_it_is_found_by_its_installation_and_is_no_container_of_a_run(runner: DockerRunner, daemon: Daemon, tmp_path: Path):
    runner.check([])

    assert daemon.created[0]["Labels"] == {f"{LABEL}.trial": "preflight", f"{LABEL}.models": f"{tmp_path}/models"}
    assert f"{LABEL}.run-id" in runner.render(probe_spec()).request["labels"]


def container(name: str, *, labels: dict[str, str], created: str, finished: str = NEVER) -> dict[str, Any]:
    state = {"Running": False, "Status": "created" if finished == NEVER else "exited", "FinishedAt": finished}
    return {"Id": name, "Name": f"/{name}", "Created": created, "State": state, "Config": {"Labels": labels}}


@pytest.mark.parametrize("behind", [timedelta(), timedelta(days=365)], ids=["clocks agree", "this clock is a year ahead"])
def test_one_that_a_killed_command_left_is_removed_after_an_hour(runner: DockerRunner, daemon: Daemon, behind: timedelta):
    def ago(**time: float) -> str:
        return (datetime.now(UTC) - behind - timedelta(**time)).isoformat()

    daemon.behind = behind

    trial, run = {probe.LABEL_OF_TRIAL: "preflight"}, {f"{LABEL}.run-id": "0123456789ab"}
    daemon.containers = [
        container("not-started", labels=trial, created=ago(minutes=1)),
        container("ended", labels=trial, created=ago(hours=2), finished=ago(minutes=1)),
        container("left", labels=trial, created=ago(hours=3), finished=ago(hours=2)),
        container("left-before-its-start", labels=trial, created=ago(hours=2)),
        container("failed-run", labels=run, created=ago(hours=3), finished=ago(hours=2)),
    ]

    removed = runner.collect_garbage([], keep_seconds=7 * 86400)

    assert removed == ["container left", "container left-before-its-start"]
    assert daemon.removed == ["left", "left-before-its-start"]


def test_the_container_of_a_run_that_has_just_ended_is_kept_for_any_clock(runner: DockerRunner, daemon: Daemon):
    daemon.containers = [
        container(run_id, labels={f"{LABEL}.run-id": run_id}, created="2020-01-01T00:00:00Z", finished="2020-01-01T00:00:01Z")
        for run_id in ("0123456789ab", "ba9876543210")
    ]

    assert runner.collect_garbage([], recent={"0123456789ab"}, keep_seconds=7 * 86400) == ["container ba9876543210"]
