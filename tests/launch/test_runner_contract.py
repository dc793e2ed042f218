"""The contract of runners, tested on each: with real processes, real containers and real Jobs of a cluster."""

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

PRINTS_TWO_LINES = "print('one', flush=True); print('two', flush=True); print('unfinished', end='')"
SLEEPS = "import time; print('ready', flush=True); time.sleep(600)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


@dataclass(frozen=True, kw_only=True)
class BackEnd:
    """One kind of back end.

    make: creates an installation with further variables. replace: puts other code in place of a run. specification: the specification
    in a request. by_sigterm, by_sigkill: possible observations of a cancelled run, as reason and exit code.
    exit_text: the text after exit code 1. foreign_host: a host of another back end. refused: makes a request that fails.
    """

    name: str
    make: Callable[..., Installation]
    replace: Callable[[Mapping[str, Any], str], dict[str, Any]]
    specification: Callable[[Mapping[str, Any]], str]
    by_sigterm: set[tuple[Reason, int | None]]
    by_sigkill: set[tuple[Reason, int | None]]
    exit_text: str
    foreign_host: str
    refused: Callable[[Mapping[str, Any]], dict[str, Any]]
    refusal: str

    def runner(self) -> Runner:
        return runner_for(self.name, self.make())

    def python(self, spec: RunSpec, code: str) -> Rendered:
        return Rendered(spec=spec, request=self.replace(self.runner().render(spec).request, code))


def environment_of(request: Mapping[str, Any]) -> str:
    return request["environment"]["GREGORY_RUN_SPEC"]


def variable_of(job: Mapping[str, Any]) -> str:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return next(variable["value"] for variable in container["env"] if variable["name"] == "GREGORY_RUN_SPEC")


@pytest.fixture(params=["local", "docker", "kubernetes"])
def back_end(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackEnd]:
    if request.param == "kubernetes":
        yield on_a_cluster(request.getfixturevalue("cluster_namespace"))
    elif request.param == "docker":
        yield on_a_docker_host(tmp_path, request.getfixturevalue("docker_engine"), request.getfixturevalue("submit_image"))
        request.getfixturevalue("docker_engine").remove_containers()
    else:
        yield on_this_machine(tmp_path)


def on_this_machine(folder: Path) -> BackEnd:
    def with_a_file_as_folder(request: Mapping[str, Any]) -> dict[str, Any]:
        (folder / "team").write_text("a file")
        return dict(request)

    return BackEnd(
        name="local",
        make=lambda **variables: installation(folder, **variables),
        replace=lambda request, code: {**request, "command": [sys.executable, "-c", code]},
        specification=environment_of,
        by_sigterm={(Reason.KILLED, -signal.SIGTERM)},
        by_sigkill={(Reason.KILLED, -signal.SIGKILL)},
        exit_text=r"the run's process exited with code 1 without a report\nlast lines of its log:\nno luck",
        foreign_host="elsewhere",
        refused=with_a_file_as_folder,
        refusal=r"^cannot start team/subject in .*: Not a directory$",
    )


def on_a_docker_host(folder: Path, engine: Engine, image: str) -> BackEnd:
    (folder / "bundle").mkdir()
    # A container makes the folder of its run in the models folder, as the user of the image.
    os.chown(folder, 10_001, 10_001)
    ours = {"DOCKER_HOST": engine.host, "GREGORY_DOCKER_IMAGE": image, "GREGORY_DOCKER_NETWORK": "none"}
    return BackEnd(
        name="docker",
        make=lambda **variables: installation(folder, bundle=folder / "bundle", **{**ours, **variables}),
        replace=lambda request, code: {**request, "entrypoint": ["dumb-init", "--", "python", "-c", code]},
        specification=environment_of,
        by_sigterm={(Reason.KILLED, 128 + signal.SIGTERM)},
        by_sigkill={(Reason.KILLED, 128 + signal.SIGKILL)},
        exit_text=r"container gregory-train-0123456789ab-a1 ended with exit code 1 and left no report\nlast lines of its log:\nno luck",
        foreign_host="docker@elsewhere#id",
        refused=lambda request: {**request, "image": "no-such-image:1"},
        refusal=r"^cannot start team/subject in a container: .*[Nn]o such image: no-such-image:1",
    )


def on_a_cluster(cluster_namespace: ClusterNamespace) -> BackEnd:
    def without_containers(job: Mapping[str, Any]) -> dict[str, Any]:
        changed = json.loads(json.dumps(job))
        changed["spec"]["template"]["spec"]["containers"] = []
        return changed

    return BackEnd(
        name="kubernetes",
        make=cluster_namespace.installation,
        replace=with_code,
        specification=variable_of,
        # Job and pod no longer exist. The exit code is known only if it was observed in time. Process 1 ignores SIGTERM.
        by_sigterm={(Reason.DELETED, None), (Reason.DELETED, 128 + signal.SIGKILL)},
        by_sigkill={(Reason.DELETED, None), (Reason.DELETED, 128 + signal.SIGKILL)},
        exit_text=r"pod gregory-train-0123456789ab-a1-\w{5} exited with code 1 and left no report\nlast lines of its log:\nno luck",
        foreign_host="kubernetes@elsewhere/namespace",
        refused=without_containers,
        refusal=r"^cannot start team/subject on the cluster: Job.batch .* is invalid: .*spec.template.spec.containers: Required value",
    )


@pytest.fixture
def runner(back_end: BackEnd) -> Runner:
    return back_end.runner()


def test_an_unknown_runner_is_an_error_with_all_names(tmp_path: Path):
    with pytest.raises(UnknownRunner, match=r"^unknown runner 'slurm'; choose from local, docker, kubernetes$"):
        runner_for("slurm", installation(tmp_path))


def test_this_module_tests_every_runner():
    assert set(RUNNERS) == {"local", "docker", "kubernetes"}


def test_the_registry_returns_a_runner_by_name(back_end: BackEnd):
    assert back_end.runner().name == back_end.name


def test_rendering_is_pure_and_contains_no_secret(back_end: BackEnd, spec: RunSpec, tmp_path: Path):
    secret = back_end.make(POSTGRES_DB="gregory", POSTGRES_PASSWORD="hunter2", DOCKER_HOST="unix:///nowhere")
    before = sorted(tmp_path.iterdir())

    rendered = runner_for(back_end.name, secret).render(spec)

    assert rendered == runner_for(back_end.name, secret).render(spec)
    assert RunSpec.model_validate_json(back_end.specification(rendered.request)) == spec
    assert "hunter2" not in repr(rendered)
    assert sorted(tmp_path.iterdir()) == before


def test_before_submission_the_handle_is_that_of_this_process(runner: Runner):
    here = runner.owner_handle()

    assert (here.name, runner.observe([here])[0].status) == (str(os.getpid()), Status.ALIVE)
    assert runner.observe([here.model_copy(update={"uid": f"{here.uid}0"})])[0].status is Status.TERMINATED


def test_a_runner_has_its_properties(runner: Runner):
    assert {type(runner.durable), type(runner.shares_models_dir)} == {bool}
    assert runner.max_parallel is None or runner.max_parallel >= 1
    assert runner.max_attempts >= 1
    assert runner.stall_seconds >= 0


def test_debug_commands_name_the_run(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, PRINTS_TWO_LINES))
    list(runner.logs(spec, handle, waiting=at_once))

    commands = runner.debug_commands(spec, handle)

    assert commands == runner.debug_commands(spec, handle)
    assert any(name in command for command in commands for name in (handle.name, spec.run_id))


def test_logs_yield_all_lines_until_the_end(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, PRINTS_TWO_LINES))

    assert list(runner.logs(spec, handle, waiting=at_once)) == ["one", "two", "unfinished"]


def test_each_attempt_has_its_own_log(back_end: BackEnd, runner: Runner, spec: RunSpec):
    for attempt in (1, 2):
        again = spec.model_copy(update={"attempt": attempt})
        handle = runner.submit(back_end.python(again, f"print('attempt {attempt}')"))

        assert list(runner.logs(again, handle, waiting=at_once)) == [f"attempt {attempt}"]
        assert runner.log_tail(again) == f"attempt {attempt}"


def test_an_ended_run_is_terminated_with_exit_code_and_log_tail(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, "import sys; sys.exit('no luck')"))
    list(runner.logs(spec, handle, waiting=at_once))

    (observation,) = runner.observe([handle])

    assert (observation.status, observation.reason, observation.diagnosis.exit_code) == (Status.TERMINATED, None, 1)
    assert re.fullmatch(back_end.exit_text, observation.text)


# A process that ends by SIGTERM needs some processor time within its grace period.
@pytest.mark.parametrize(("code", "grace", "ends_by"), [(SLEEPS, 5, "by_sigterm"), (IGNORES_SIGTERM, 1, "by_sigkill")])
def test_cancel_terminates_then_kills_and_returns_after_the_end(
    back_end: BackEnd, runner: Runner, spec: RunSpec, code: str, grace: int, ends_by: str
):
    handle = runner.submit(back_end.python(spec, code))
    next(runner.logs(spec, handle, waiting=at_once))
    assert runner.observe([handle])[0].status is Status.ALIVE

    runner.cancel(handle, grace_seconds=grace)

    (observation,) = runner.observe([handle])
    assert (observation.reason, observation.diagnosis.exit_code) in getattr(back_end, ends_by)
    runner.cancel(handle, grace_seconds=1)


def test_another_runner_observes_the_run_and_its_end(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, SLEEPS))
    next(runner.logs(spec, handle, waiting=at_once))
    another = back_end.runner()
    assert another.observe([handle])[0].status is Status.ALIVE

    runner.cancel(handle, grace_seconds=1)

    assert another.observe([handle])[0].status is Status.TERMINATED


def test_another_uid_is_not_the_run(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, SLEEPS))
    another = back_end.runner()

    assert another.observe([handle.model_copy(update={"uid": f"{handle.uid}0"})])[0].status is Status.TERMINATED
    runner.cancel(handle, grace_seconds=1)


def test_a_run_of_another_back_end_is_unknown(back_end: BackEnd, runner: Runner):
    (observation,) = runner.observe([RunHandle(host=back_end.foreign_host, name="1", uid="1")])

    assert observation.status is Status.UNKNOWN
    assert observation.text.endswith(f"1 belongs to {'host ' if back_end.name == 'local' else ''}{back_end.foreign_host}")


def test_observations_have_the_order_of_the_handles(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, SLEEPS))
    next(runner.logs(spec, handle, waiting=at_once))
    elsewhere = RunHandle(host=back_end.foreign_host, name="1", uid="1")

    statuses = [observation.status for observation in runner.observe([elsewhere, handle, runner.owner_handle()])]

    assert statuses == [Status.UNKNOWN, Status.ALIVE, Status.ALIVE]
    runner.cancel(handle, grace_seconds=1)


def test_a_run_that_cannot_start_is_a_submit_error(back_end: BackEnd, runner: Runner, spec: RunSpec):
    rendered = back_end.python(spec, SLEEPS)

    with pytest.raises(SubmitError, match=back_end.refusal):
        runner.submit(Rendered(spec=spec, request=back_end.refused(rendered.request)))


def test_waiting_is_called_while_no_line_arrives(back_end: BackEnd, runner: Runner, spec: RunSpec):
    calls: list[float] = []
    handle = runner.submit(back_end.python(spec, "import time; time.sleep(1)"))

    list(runner.logs(spec, handle, waiting=lambda: calls.append(time.monotonic()) is None))

    assert calls


@pytest.mark.parametrize("back_end", ["local", "docker"], indirect=True)
def test_cleanup_and_garbage_collection_remove_a_run(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    assert list(runner.collect_garbage({spec.run_id}, keep_seconds=-1)) == []
    assert list(runner.collect_garbage(set(), keep_seconds=3600)) == []
    assert runner.log_tail(spec) == "done"

    runner.cleanup(spec)

    assert runner.log_tail(spec) == ""
    handle = runner.submit(back_end.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    (removed,) = runner.collect_garbage(set(), keep_seconds=-1)
    assert spec.run_id in removed
    assert runner.log_tail(spec) == ""


@pytest.mark.parametrize("back_end", ["local"], indirect=True)
def test_two_processes_may_collect_the_same_garbage(back_end: BackEnd, runner: Runner, spec: RunSpec, monkeypatch: pytest.MonkeyPatch):
    handle = runner.submit(back_end.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    remove = shutil.rmtree

    def come_second(folder: str | Path, **options: int) -> None:
        remove(folder, **options)
        remove(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", come_second)

    assert list(runner.collect_garbage(set(), keep_seconds=-1)) == []
    assert runner.log_tail(spec) == ""


@pytest.mark.parametrize("back_end", ["kubernetes"], indirect=True)
def test_the_cluster_removes_a_finished_run_itself(back_end: BackEnd, runner: Runner, spec: RunSpec):
    handle = runner.submit(back_end.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))

    runner.cleanup(spec)

    assert list(runner.collect_garbage(set(), keep_seconds=-1)) == []
    assert runner.log_tail(spec) == "done"
