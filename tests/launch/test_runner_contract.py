"""What every runner promises, asked of each of them: of real processes, and of real containers."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gregory.launch.errors import SubmitError, UnknownRunner
from gregory.launch.runners.base import Installation, Life, Rendered, Runner
from gregory.launch.submit import RUNNERS, runner_for
from gregory.ml.config import TrainConfig
from gregory.runs.names import Reason
from gregory.runs.spec import RunHandle, RunSpec, Scope, Window
from tests.launch.installation import installation

SAYS_TWO_LINES = "print('one', flush=True); print('two', flush=True); print('unfinished', end='')"
SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


@dataclass(frozen=True)
class Machine:
    """One kind of machine: how its runner is made, how any code is put in the place of a run, and what only it says."""

    name: str
    installation: Installation
    command: dict[str, Any]
    killed_by_sigterm: int
    killed_by_sigkill: int
    exit_in_words: str
    foreign_host: str

    def runner(self) -> Runner:
        return runner_for(self.name, self.installation)

    def python(self, spec: RunSpec, code: str) -> Rendered:
        key, prefix = next(iter(self.command.items()))
        return Rendered(spec=spec, request={**self.runner().render(spec).request, key: [*prefix, "-c", code]})


@pytest.fixture
def spec() -> RunSpec:
    return RunSpec(
        run_id="0123456789ab",
        attempt_token="token",
        team=Scope(id=1, slug="team"),
        subject=Scope(id=2, slug="subject"),
        algorithms=(),
        config=TrainConfig(),
        window=Window(cutoff=None, description="all articles"),
    )


@pytest.fixture(params=["local", "docker"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    if request.param == "local":
        yield Machine(
            name="local",
            installation=installation(tmp_path),
            command={"command": [sys.executable]},
            killed_by_sigterm=-signal.SIGTERM,
            killed_by_sigkill=-signal.SIGKILL,
            exit_in_words="the run's process exited with code 1 without a report; last lines of its standard error:\nno luck",
            foreign_host="elsewhere",
        )
        return
    engine, image = request.getfixturevalue("docker_engine"), request.getfixturevalue("submit_image")
    (tmp_path / "bundle").mkdir()
    yield Machine(
        name="docker",
        installation=installation(
            tmp_path, bundle=tmp_path / "bundle", DOCKER_HOST=engine.host, GREGORY_DOCKER_IMAGE=image, GREGORY_DOCKER_NETWORK="none"
        ),
        command={"entrypoint": ["dumb-init", "--", "python"]},
        killed_by_sigterm=128 + signal.SIGTERM,
        killed_by_sigkill=128 + signal.SIGKILL,
        exit_in_words="container gregory-train-0123456789ab-a1 ended with exit code 1 and left no report; last lines of its log:\nno luck",
        foreign_host="docker@elsewhere#id",
    )
    engine.remove_containers()


@pytest.fixture
def runner(machine: Machine) -> Runner:
    return machine.runner()


def at_once() -> bool:
    """Nobody knows better than the runner whether the run is still at work."""
    return True


def test_an_unknown_runner_is_refused_with_those_there_are(tmp_path: Path):
    with pytest.raises(UnknownRunner, match=r"^unknown runner 'slurm'; choose from local, docker$"):
        runner_for("slurm", installation(tmp_path))


def test_every_runner_keeps_this_contract():
    assert set(RUNNERS) == {"local", "docker"}


def test_a_runner_is_found_by_its_name(machine: Machine):
    assert machine.runner().name == machine.name


def test_rendering_is_pure_and_carries_no_secret(machine: Machine, spec: RunSpec, tmp_path: Path):
    before = sorted(tmp_path.iterdir())
    secret = installation(tmp_path, POSTGRES_DB="gregory", POSTGRES_PASSWORD="hunter2", DOCKER_HOST="unix:///nowhere")

    rendered = runner_for(machine.name, secret).render(spec)

    assert rendered == runner_for(machine.name, secret).render(spec)
    assert RunSpec.model_validate_json(rendered.request["environment"]["GREGORY_RUN_SPEC"]) == spec
    assert "hunter2" not in repr(rendered)
    assert sorted(tmp_path.iterdir()) == before


def test_until_it_is_submitted_a_run_is_in_the_hands_of_this_process(runner: Runner):
    here = runner.here()

    assert (here.name, runner.observe([here])[0].life) == (str(os.getpid()), Life.ALIVE)
    assert runner.observe([here.model_copy(update={"uid": "another start"})])[0].life is Life.DEAD


def test_logs_follow_to_the_end_and_give_complete_lines_only(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SAYS_TWO_LINES))

    assert list(runner.logs(spec, handle, waiting=at_once)) == ["one", "two"]


def test_each_attempt_has_logs_of_its_own(machine: Machine, runner: Runner, spec: RunSpec):
    for attempt in (1, 2):
        again = spec.model_copy(update={"attempt": attempt})
        handle = runner.submit(machine.python(again, f"print('attempt {attempt}')"))

        assert list(runner.logs(again, handle, waiting=at_once)) == [f"attempt {attempt}"]
        assert runner.tail(again) == f"attempt {attempt}"


def test_an_ended_run_is_observed_dead_with_its_exit_code_and_last_words(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, "import sys; sys.exit('no luck')"))
    list(runner.logs(spec, handle, waiting=at_once))

    (observation,) = runner.observe([handle])

    assert (observation.life, observation.reason, observation.exit_code) == (Life.DEAD, None, 1)
    assert observation.detail == machine.exit_in_words


@pytest.mark.parametrize(("code", "ends_by"), [(SLEEPS, "killed_by_sigterm"), (IGNORES_SIGTERM, "killed_by_sigkill")])
def test_cancel_asks_then_insists_and_returns_when_it_has_ended(machine: Machine, runner: Runner, spec: RunSpec, code: str, ends_by: str):
    handle = runner.submit(machine.python(spec, code))
    next(runner.logs(spec, handle, waiting=at_once))
    assert runner.observe([handle])[0].life is Life.ALIVE

    runner.cancel(handle, grace_seconds=1)

    (observation,) = runner.observe([handle])
    assert (observation.reason, observation.exit_code) == (Reason.KILLED, getattr(machine, ends_by))
    runner.cancel(handle, grace_seconds=1)


def test_another_process_sees_the_run_alive_and_then_gone(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SLEEPS))
    stranger = machine.runner()
    assert stranger.observe([handle])[0].life is Life.ALIVE

    runner.cancel(handle, grace_seconds=1)

    assert stranger.observe([handle])[0].life is Life.DEAD


def test_a_reused_name_is_not_the_run(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SLEEPS))
    stranger = machine.runner()

    assert stranger.observe([handle.model_copy(update={"uid": "another"})])[0].life is Life.DEAD
    runner.cancel(handle, grace_seconds=1)


def test_of_another_machines_run_nothing_is_known(machine: Machine, runner: Runner):
    (observation,) = runner.observe([RunHandle(host=machine.foreign_host, name="1", uid="1")])

    assert observation.life is Life.UNKNOWN
    assert observation.detail.endswith(f"1 belongs to {'host ' if machine.name == 'local' else ''}{machine.foreign_host}")


def test_many_runs_are_observed_in_the_order_asked(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, SLEEPS))
    elsewhere = RunHandle(host=machine.foreign_host, name="1", uid="1")

    lives = [observation.life for observation in runner.observe([elsewhere, handle, runner.here()])]

    assert lives == [Life.UNKNOWN, Life.ALIVE, Life.ALIVE]
    runner.cancel(handle, grace_seconds=1)


def test_a_run_that_cannot_start_says_why(machine: Machine, runner: Runner, spec: RunSpec, tmp_path: Path):
    rendered = machine.python(spec, SLEEPS)
    if machine.name == "local":
        (tmp_path / ".runs").write_text("a file in the way")
        why = r"^cannot start team/subject in .*: Not a directory$"
    else:
        rendered = Rendered(spec=spec, request={**rendered.request, "image": "no-such-image:1"})
        why = r"^cannot start team/subject in a container: .*[Nn]o such image: no-such-image:1"

    with pytest.raises(SubmitError, match=why):
        runner.submit(rendered)


def test_waiting_is_called_while_there_is_nothing_to_read(machine: Machine, runner: Runner, spec: RunSpec):
    calls: list[float] = []
    handle = runner.submit(machine.python(spec, "import time; time.sleep(1)"))

    list(runner.logs(spec, handle, waiting=lambda: calls.append(time.monotonic()) is None))

    assert calls


def test_what_a_run_left_is_forgotten_or_swept_once_it_is_old(machine: Machine, runner: Runner, spec: RunSpec):
    handle = runner.submit(machine.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    assert runner.sweep({spec.run_id}, keep_seconds=-1) == []
    assert runner.sweep(set(), keep_seconds=3600) == []
    assert runner.tail(spec) == "done"

    runner.forget(spec)

    assert runner.tail(spec) == ""
    handle = runner.submit(machine.python(spec, "print('done')"))
    list(runner.logs(spec, handle, waiting=at_once))
    (swept,) = runner.sweep(set(), keep_seconds=-1)
    assert spec.run_id in swept
    assert runner.tail(spec) == ""
