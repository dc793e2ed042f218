"""A killed run is resumed under its own id. Real processes, real signals, SQLite and PostgreSQL."""

import signal

import pytest

from tests.end_to_end.trainings import processes, training, wait_for
from tools.installation import Installation

SUBJECT = ("--team", "neurology", "--subject", "migraine-prevention", "--algo", "lgbm_tfidf,lstm")


# Long enough to be killed in an epoch.
HYPERPARAMETERS = "lstm: {epochs: 12, patience: 12}\n"


@pytest.fixture
def demo_installation(demo_installation: Installation) -> Installation:
    demo_installation.set_hyperparameters(HYPERPARAMETERS)
    return demo_installation


@pytest.fixture
def demo_installation_on_postgresql(postgresql_installation: Installation) -> Installation:
    postgresql_installation.set_hyperparameters(HYPERPARAMETERS)
    postgresql_installation.must("load_demo")
    return postgresql_installation


def power_cut(installation: Installation) -> str:
    """Kill all processes in the second training, after the first has succeeded. Returns the id of the run."""
    with installation.start("train_models", *SUBJECT) as command:
        worker = training(installation, command, "lstm")
        (job,) = processes(command, "-m job")
        for process in (command, job, worker):
            process.send_signal(signal.SIGKILL)
        command.wait()
        wait_for(lambda: not job.is_running() and not worker.is_running())
    lgbm, lstm = installation.rows()
    assert (lgbm["success"], lstm["success"]) == (True, None)
    return lstm["run_id"]


def test_a_killed_run_is_resumed_in_its_open_rows(demo_installation: Installation):
    run_id = power_cut(demo_installation)
    before = demo_installation.rows()

    output = demo_installation.must("train_models", "--resume", run_id)

    lgbm, lstm = demo_installation.rows()
    assert f"neurology/migraine-prevention: run {run_id} is resumed, attempt 2: lstm {lstm['version']}\n" in output
    assert (lgbm["metrics"], lgbm["artifact"]) == (before[0]["metrics"], before[0]["artifact"])
    assert [(row["id"], row["version"]) for row in (lgbm, lstm)] == [(row["id"], row["version"]) for row in before]
    assert [(row["success"], row["run_id"], row["attempt"], row["state"]) for row in (lgbm, lstm)] == [(True, run_id, 2, "succeeded")] * 2
    assert (demo_installation.models / lstm["artifact"] / "metrics.json").is_file()
    assert not (demo_installation.models / ".runs" / run_id).exists()
    assert "2 version folders, all complete and unchanged" in demo_installation.must("verify_models")

    again = demo_installation.manage("train_models", "--resume", run_id)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"CommandError: run {run_id} of neurology/migraine-prevention succeeded: nothing to resume\n"


@pytest.mark.slow
def test_a_closed_row_stays_closed_and_the_run_is_resumed_in_a_new_one(demo_installation: Installation):
    run_id = power_cut(demo_installation)
    report = demo_installation.must("reconcile_runs", "--once")
    closed = demo_installation.rows()

    demo_installation.must("train_models", "--resume", run_id)

    assert f"ended without a report; resume it with: python manage.py train_models --resume {run_id}\n" in report
    _, failed, new = demo_installation.rows()
    assert (failed["id"], failed["success"], failed["error"]) == (closed[1]["id"], False, closed[1]["error"])
    assert (new["run_id"], new["attempt"], new["success"]) == (run_id, 2, True)
    assert (new["algorithm"], new["version"]) == ("lstm", f"{failed['version']}_2")
    folders = [path.name for path in demo_installation.models.glob("neurology/migraine-prevention/lstm/*")]
    assert folders == [new["version"]]


@pytest.mark.slow
def test_a_run_in_progress_is_not_resumed(demo_installation: Installation):
    with demo_installation.start("train_models", *SUBJECT) as command:
        training(demo_installation, command, "lstm")
        (job,) = processes(command, "-m job")
        run_id = demo_installation.rows()[0]["run_id"]

        refused = demo_installation.manage("train_models", "--resume", run_id)

        assert command.wait(timeout=200) == 0
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"CommandError: run {run_id} of neurology/migraine-prevention may be at work, nothing is resumed: process {job.pid} runs\n"
    )
    assert [(row["success"], row["attempt"]) for row in demo_installation.rows()] == [(True, 1)] * 2


@pytest.mark.slow
def test_an_interrupted_run_says_next_commands_and_does(demo_installation: Installation):
    with demo_installation.start("train_models", *SUBJECT) as command:
        training(demo_installation, command, "lstm")
        command.send_signal(signal.SIGTERM)
        output, _ = command.communicate(timeout=60)
    run_id = demo_installation.rows()[0]["run_id"]
    hint = f"resume it with: python manage.py train_models --resume {run_id}"
    assert output.splitlines()[-1] == f"CommandError: interrupted by signal 15 (SIGTERM); every open row was closed; {hint}"

    demo_installation.must("train_models", "--resume", run_id)

    assert [(row["algorithm"], row["success"]) for row in demo_installation.rows()] == [
        ("lgbm_tfidf", True),
        ("lstm", False),
        ("lstm", True),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["demo_installation", "demo_installation_on_postgresql"])
def test_two_commands_resume_one_run_once(where: str, request: pytest.FixtureRequest):
    installation = request.getfixturevalue(where)
    run_id = power_cut(installation)

    with installation.start("train_models", "--resume", run_id) as one, installation.start("train_models", "--resume", run_id) as other:
        told = [command.communicate(timeout=200)[0] for command in (one, other)]

    assert sorted((one.returncode, other.returncode)) == [0, 1]
    (refused,) = [output for output, command in zip(told, (one, other), strict=True) if command.returncode == 1]
    assert refused.startswith(f"CommandError: run {run_id} of neurology/migraine-prevention ")
    assert "was just resumed or ended by another process" in refused or "may be at work, nothing is resumed" in refused
    assert [(row["success"], row["attempt"]) for row in installation.rows()] == [(True, 2)] * 2
