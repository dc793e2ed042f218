"""What every runner promises, asked of each of them: of real processes, real containers, and real Jobs of a cluster."""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gregory.launch.errors import SubmitError, UnknownRunner
from gregory.launch.registry import RUNNERS, runner_for
from gregory.launch.runner import Installation, Rendered, Runner, Status
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from tests.launch.example_run import at_once
from tools.cluster.namespace import ClusterNamespace, with_code
from tools.docker_engine import Engine
from tools.launch_installation import installation

SAYS_TWO_LINES = "print('one', flush=True); print('two', flush=True); print('unfinished', end='')"
SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One kind of machine: how its runner is made, how any code is put in the place of a run, and what only it says.

    make: an installation with these further variables. specification: of a request, what the run will read.
    by_sigterm, by_sigkill: what may be seen of a run that was cancelled, as reason and exit code.
    """

    name: str
    make: Callable[..., Installation]
    put: Callable[[Mapping[str, Any], str], dict[str, Any]]
    specification: Callable[[Mapping[str, Any]], str]
    by_sigterm: set[tuple[Reason, int | None]]
    by_sigkill: set[tuple[Reason, int | None]]
    exit_in_words: str
    foreign_host: str
    refused: Callable[[Mapping[str, Any]], dict[str, Any]]
    refusal: str

    def runner(self) -> Runner:
        return runner_for(self.name, self.make())

    def python(self, spec: RunSpec, code: str) -> Rendered:
        return Rendered(spec=spec, request=self.put(self.runner().render(spec).request, code))


def environment_of(request: Mapping[str, Any]) -> str:
    return request["environment"]["GREGORY_RUN_SPEC"]


def variable_of(job: Mapping[str, Any]) -> str:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return next(variable["value"] for variable in container["env"] if variable["name"] == "GREGORY_RUN_SPEC")


@pytest.fixture(params=["local", "docker", "kubernetes"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    if request.param == "kubernetes":
        yield on_a_cluster(request.getfixturevalue("cluster_namespace"))
    elif request.param == "docker":
        yield on_a_docker_host(tmp_path, request.getfixturevalue("docker_engine"), request.getfixturevalue("submit_image"))
        request.getfixturevalue("docker_engine").remove_containers()
    else:
        yield on_this_machine(tmp_path)


def on_this_machine(folder: Path) -> Machine:
    def in_the_way(request: Mapping[str, Any]) -> dict[str, Any]:
        (folder / ".runs").write_text("a file")
        return dict(request)

    return Machine(
        name="local",
        make=lambda **variables: installation(folder, **variables),
        put=lambda request, code: {**request, "command": [sys.executable, "-c", code]},
        specification=environment_of,
        by_sigterm={(Reason.KILLED, -signal.SIGTERM)},
        by_sigkill={(Reason.KILLED, -signal.SIGKILL)},
        exit_in_words=r"the run's process exited with code 1 without a report; last lines of its log:\nno luck",
        foreign_host="elsewhere",
        refused=in_the_way,
        refusal=r"^cannot start team/subject in .*: Not a directory$",
    )


def on_a_docker_host(folder: Path, engine: Engine, image: str) -> Machine:
    (folder / "bundle").mkdir()
    ours = {"DOCKER_HOST": engine.host, "GREGORY_DOCKER_IMAGE": image, "GREGORY_DOCKER_NETWORK": "none"}
    return Machine(
        name="docker",
        make=lambda **variables: installation(folder, bundle=folder / "bundle", **{**ours, **variables}),
        put=lambda request, code: {**request, "entrypoint": ["dumb-init", "--", "python", "-c", code]},
        specification=environment_of,
        by_sigterm={(Reason.KILLED, 128 + signal.SIGTERM)},
        by_sigkill={(Reason.KILLED, 128 + signal.SIGKILL)},
        exit_in_words=r"container gregory-train-0123456789ab-a1 ended with exit code 1 and left no report; last lines of its log:\nno luck",
        foreign_host="docker@elsewhere#id",
        refused=lambda request: {**request, "image": "no-such-image:1"},
        refusal=r"^cannot start team/subject in a container: .*[Nn]o such image: no-such-image:1",
    )


def on_a_cluster(cluster_namespace: ClusterNamespace) -> Machine:
    def without_containers(job: Mapping[str, Any]) -> dict[str, Any]:
        changed = json.loads(json.dumps(job))
        changed["spec"]["template"]["spec"]["containers"] = []
        return changed

    return Machine(
        name="kubernetes",
        make=cluster_namespace.installation,
        put=with_code,
        specification=variable_of,
        # Job and pod are gone then, and with them how it ended, unless that was seen in time. A first process gets no SIGTERM.
        by_sigterm={(Reason.DELETED, None), (Reason.DELETED, 128 + signal.SIGKILL)},
        by_sigkill={(Reason.DELETED, None), (Reason.DELETED, 128 + signal.SIGKILL)},
        exit_in_words=r"pod gregory-train-0123456789ab-a1-\w{5} exited with code 1 and left no report; last lines of its log:\nno luck",
        foreign_host="kubernetes@elsewhere/namespace",
        refused=without_containers,
        refusal=r"^cannot start team/subject on the cluster: Job.batch .* is invalid: .*spec.template.spec.containers: Required value",
    )


@pytest.fixture
def runner(machine: Machine) -> Runner:
    return machine.runner()


def test_an_unknown_runner_is_refused_with_those_there_are(tmp_path: Path):
    with pytest.raises(UnknownRunner, match=r"^unknown runner 'slurm'; choose from local, docker, kubernetes$"):
        runner_for("slurm", installation(tmp_path))


def test_every_runner_keeps_this_contract():
    assert set(RUNNERS) == {"local", "docker", "kubernetes"}


def test_a_runner_is_found_by_its_name(machine: Machine):
    assert machine.runner().name == machine.name


def test_rendering_is_pure_and_carries_no_secret(machine: Machine, spec: RunSpec, tmp_path: Path):
    secret = machine.make(POSTGRES_DB="gregory", POSTGRES_PASSWORD="hunter2", DOCKER_HOST="unix:///nowhere")
    before = sorted(tmp_path.iterdir())

    rendered = runner_for(machine.name, secret).render(spec)

    assert rendered == runner_for(machine.name, secret).render(spec)
    assert RunSpec.model_validate_json(machine.specification(rendered.request)) == spec
    assert "hunter2" not in repr(rendered)
    assert sorted(tmp_path.iterdir()) == before


def test_until_it_is_submitted_a_run_is_in_the_hands_of_this_process(runner: Runner):
    here = runner.owner_handle()

    assert (here.name, runner.observe([here])[0].status) == (str(os.getpid()), Status.ALIVE)
    assert runner.observe([here.model_copy(update={"uid": "another start"})])[0].status is Status.TERMINATED


def test_what_is_tried_again_and_when_a_run_has_stalled_is_the_runner_s_to_say(runner: Runner):
    assert {type(runner.durable), type(runner.shares_models_dir)} == {bool}
    assert runner.max_parallel is None or runner.max_parallel >= 1
    assert runner.max_attempts >= 1
    assert runner.stall_seconds >= 0


def test_an_operator_is_told_what_to_type(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.owner_handle()

    commands = runner.debug_commands(spec, handle)

    assert commands == runner.debug_commands(spec, handle)
    assert any(name in command for command in commands for name in (handle.name, spec.run_id))


def test_logs_follow_to_the_end_and_give_complete_lines_only(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SAYS_TWO_LINES))

    assert list(runner.logs(spec, handle, waiting=at_once)) == ["one", "two"]


def test_each_attempt_has_logs_of_its_own(machine: Machine, runner: Runner, spec: RunSpec):
    for attempt in (1, 2):
        again = spec.model_copy(update={"attempt": attempt})
        handle = runner.submit(machine.python(again, f"print('attempt {attempt}')"))

        assert list(runner.logs(again, handle, waiting=at_once)) == [f"attempt {attempt}"]
        assert runner.log_tail(again) == f"attempt {attempt}"


def test_an_ended_run_is_observed_dead_with_its_exit_code_and_last_words(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, "import sys; sys.exit('no luck')"))
    list(runner.logs(spec, handle, waiting=at_once))

    (observation,) = runner.observe([handle])

    assert (observation.status, observation.reason, observation.diagnosis.exit_code) == (Status.TERMINATED, None, 1)
    assert re.fullmatch(machine.exit_in_words, observation.text)


@pytest.mark.parametrize(("code", "ends_by"), [(SLEEPS, "by_sigterm"), (IGNORES_SIGTERM, "by_sigkill")])
def test_cancel_asks_then_insists_and_returns_when_it_has_ended(machine: Machine, runner: Runner, spec: RunSpec, code: str, ends_by: str):
    handle = runner.submit(machine.python(spec, code))
    next(runner.logs(spec, handle, waiting=at_once))
    assert runner.observe([handle])[0].status is Status.ALIVE

    runner.cancel(handle, grace_seconds=1)

    (observation,) = runner.observe([handle])
    assert (observation.reason, observation.diagnosis.exit_code) in getattr(machine, ends_by)
    runner.cancel(handle, grace_seconds=1)


def test_another_process_sees_the_run_alive_and_then_gone(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SLEEPS))
    next(runner.logs(spec, handle, waiting=at_once))
    stranger = machine.runner()
    assert stranger.observe([handle])[0].status is Status.ALIVE

    runner.cancel(handle, grace_seconds=1)

    assert stranger.observe([handle])[0].status is Status.TERMINATED


def test_a_reused_name_is_not_the_run(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SLEEPS))
    stranger = machine.runner()

    assert stranger.observe([handle.model_copy(update={"uid": "another"})])[0].status is Status.TERMINATED
    runner.cancel(handle, grace_seconds=1)


def test_of_another_machines_run_nothing_is_known(machine: Machine, runner: Runner):
    (observation,) = runner.observe([RunHandle(host=machine.foreign_host, name="1", uid="1")])

    assert observation.status is Status.UNKNOWN
    assert observation.text.endswith(f"1 belongs to {'host ' if machine.name == 'local' else ''}{machine.foreign_host}")


def test_many_runs_are_observed_in_the_order_asked(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SLEEPS))
    next(runner.logs(spec, handle, waiting=at_once))
    elsewhere = RunHandle(host=machine.foreign_host, name="1", uid="1")

    lives = [observation.status for observation in runner.observe([elsewhere, handle, runner.owner_handle()])]

    assert lives == [Status.UNKNOWN, Status.ALIVE, Status.ALIVE]
    runner.cancel(handle, grace_seconds=1)


def test_a_run_that_cannot_start_says_why(machine: Machine, runner: Runner, spec: RunSpec):
    rendered = machine.python(spec, SLEEPS)

    with pytest.raises(SubmitError, match=machine.refusal):
        runner.submit(Rendered(spec=spec, request=machine.refused(rendered.request)))


def test_waiting_is_called_while_there_is_nothing_to_read(machine: Machine, runner: Runner, spec: RunSpec):
    calls: list[float] = []
    handle = runner.submit(machine.python(spec, "import time; time.sleep(1)"))

    list(runner.logs(spec, handle, waiting=lambda: calls.append(time.monotonic()) is None))

    assert calls


@pytest.mark.parametrize("machine", ["local", "docker"], indirect=True)
def test_what_a_run_left_is_forgotten_or_swept_once_it_is_old(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    assert runner.collect_garbage({spec.run_id}, keep_seconds=-1) == []
    assert runner.collect_garbage(set(), keep_seconds=3600) == []
    assert runner.log_tail(spec) == "done"

    runner.cleanup(spec)

    assert runner.log_tail(spec) == ""
    handle = runner.submit(machine.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    (swept,) = runner.collect_garbage(set(), keep_seconds=-1)
    assert spec.run_id in swept
    assert runner.log_tail(spec) == ""


@pytest.mark.parametrize("machine", ["local"], indirect=True)
def test_two_may_sweep_the_same_folders(machine: Machine, runner: Runner, spec: RunSpec, monkeypatch: pytest.MonkeyPatch):
    handle = runner.submit(machine.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    remove = shutil.rmtree

    def come_second(folder: Path) -> None:
        remove(folder)
        remove(folder)

    monkeypatch.setattr(shutil, "rmtree", come_second)

    assert runner.collect_garbage(set(), keep_seconds=-1) == []
    assert runner.log_tail(spec) == ""


@pytest.mark.parametrize("machine", ["kubernetes"], indirect=True)
def test_what_a_run_left_is_the_clusters_to_remove(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))

    runner.cleanup(spec)

    assert runner.collect_garbage(set(), keep_seconds=-1) == []
    assert runner.log_tail(spec) == "done"
