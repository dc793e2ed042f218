"""What every runner promises, asked of each of them; the local one for now."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from gregory.launch.errors import SubmitError, UnknownRunner
from gregory.launch.runners.base import Life, Rendered
from gregory.launch.runners.local import LocalRunner, describe_exit
from gregory.launch.submit import RUNNERS, runner_for
from gregory.ml.config import TrainConfig
from gregory.runs.spec import RunHandle, RunSpec, Scope, Window
from tests.site import REPOSITORY

SAYS_TWO_LINES = "print('one', flush=True); print('two', flush=True); print('unfinished', end='')"
SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


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


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    return LocalRunner(project_dir=REPOSITORY, models_dir=tmp_path, environment={"PATH": os.environ["PATH"]})


def python(spec: RunSpec, code: str) -> Rendered:
    return Rendered(spec=spec, argv=(sys.executable, "-c", code), environment={})


def nothing() -> None:
    pass


def test_every_runner_is_found_by_its_name(tmp_path: Path):
    for name in RUNNERS:
        assert runner_for(name, project_dir=REPOSITORY, models_dir=tmp_path, environment={}).name == name


def test_an_unknown_runner_is_refused_with_those_there_are(tmp_path: Path):
    with pytest.raises(UnknownRunner, match=r"^unknown runner 'slurm'; choose from local$"):
        runner_for("slurm", project_dir=REPOSITORY, models_dir=tmp_path, environment={})


def test_rendering_is_pure_and_carries_no_secret(runner: LocalRunner, spec: RunSpec, tmp_path: Path):
    rendered = runner.render(spec)

    assert rendered == runner.render(spec)
    assert rendered.argv[1:] == ("-m", "job")
    assert RunSpec.model_validate_json(rendered.environment["GREGORY_RUN_SPEC"]) == spec
    assert not any("PASSWORD" in name for name in rendered.environment)
    assert list(tmp_path.iterdir()) == []


def test_logs_follow_to_the_end_and_give_complete_lines_only(runner: LocalRunner, spec: RunSpec):
    handle = runner.submit(python(spec, SAYS_TWO_LINES))

    assert list(runner.logs(spec, handle, waiting=nothing)) == ["one", "two"]


def test_each_attempt_has_logs_of_its_own(runner: LocalRunner, spec: RunSpec, tmp_path: Path):
    speaks = "import sys; print('attempt', sys.argv[1], flush=True); sys.exit('end of ' + sys.argv[1])"
    for attempt in ("1", "2"):
        again = spec.model_copy(update={"attempt": int(attempt)})
        handle = runner.submit(Rendered(spec=again, argv=(sys.executable, "-c", speaks, attempt), environment={}))

        assert list(runner.logs(again, handle, waiting=nothing)) == [f"attempt {attempt}"]
        assert runner.tail(again) == f"attempt {attempt}"
        assert runner.observe([handle])[0].detail.endswith(f"error:\nend of {attempt}")

    folder = tmp_path / ".runs" / spec.run_id
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "events-1.jsonl": "attempt 1\n",
        "stderr-1.log": "end of 1\n",
        "events-2.jsonl": "attempt 2\n",
        "stderr-2.log": "end of 2\n",
    }


def test_an_ended_run_is_observed_dead_with_its_exit_code_and_last_words(runner: LocalRunner, spec: RunSpec):
    handle = runner.submit(python(spec, "import sys; sys.exit('no luck')"))
    list(runner.logs(spec, handle, waiting=nothing))

    (observation,) = runner.observe([handle])

    assert (observation.life, observation.exit_code) == (Life.DEAD, 1)
    assert observation.detail == "the run's process exited with code 1 without a report; last lines of its standard error:\nno luck"


@pytest.mark.parametrize(("code", "signals"), [(SLEEPS, signal.SIGTERM), (IGNORES_SIGTERM, signal.SIGKILL)])
def test_cancel_asks_then_insists_and_returns_when_it_has_ended(runner: LocalRunner, spec: RunSpec, code: str, signals: signal.Signals):
    handle = runner.submit(python(spec, code))
    next(runner.logs(spec, handle, waiting=nothing))
    assert runner.observe([handle])[0].life is Life.ALIVE

    runner.cancel(handle, grace_seconds=0.5)

    assert runner.observe([handle])[0].exit_code == -signals
    runner.cancel(handle, grace_seconds=0.5)


def test_another_process_sees_the_run_alive_and_then_gone(runner: LocalRunner, spec: RunSpec, tmp_path: Path):
    handle = runner.submit(python(spec, SLEEPS))
    stranger = LocalRunner(project_dir=REPOSITORY, models_dir=tmp_path, environment={})
    assert stranger.observe([handle])[0].life is Life.ALIVE

    runner.cancel(handle, grace_seconds=5)

    (observation,) = stranger.observe([handle])
    assert (observation.life, observation.exit_code) == (Life.DEAD, None)


def test_a_reused_process_id_is_not_the_run(runner: LocalRunner):
    here = runner.here()

    assert runner.observe([here])[0].life is Life.ALIVE
    assert runner.observe([here.model_copy(update={"uid": "another start"})])[0].life is Life.DEAD


def test_of_another_machines_process_nothing_is_known(runner: LocalRunner):
    (observation,) = runner.observe([RunHandle(host="elsewhere", name="1", uid="1")])

    assert (observation.life, observation.detail) == (Life.UNKNOWN, "process 1 belongs to host elsewhere")


def test_a_run_that_cannot_start_says_why(spec: RunSpec, tmp_path: Path):
    (tmp_path / ".runs").write_text("a file in the way")
    runner = LocalRunner(project_dir=REPOSITORY, models_dir=tmp_path, environment={})

    with pytest.raises(SubmitError, match=r"^cannot start team/subject in .*: Not a directory$"):
        runner.submit(python(spec, SLEEPS))


def test_waiting_is_called_while_there_is_nothing_to_read(runner: LocalRunner, spec: RunSpec):
    calls: list[float] = []
    handle = runner.submit(python(spec, "import time; time.sleep(0.5)"))

    list(runner.logs(spec, handle, waiting=lambda: calls.append(time.monotonic())))

    assert calls


def test_forget_removes_what_submit_made(runner: LocalRunner, spec: RunSpec, tmp_path: Path):
    handle = runner.submit(python(spec, ""))
    list(runner.logs(spec, handle, waiting=nothing))

    runner.forget(spec)

    assert list((tmp_path / ".runs").iterdir()) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [(-9, "the run's process was killed by signal 9 (SIGKILL)"), (3, "the run's process exited with code 3 without a report")],
)
def test_exit_codes_in_words(code: int, words: str):
    assert describe_exit(code) == words
