"""A killed run is resumed under its own id. Real processes, real signals, SQLite and PostgreSQL."""

import signal

import pytest

from tests.end_to_end.trainings import processes, training, wait_for
from tools.installation import Installation

SUBJECT = ("--team", "neurology", "--subject", "migraine-prevention", "--algo")
BOTH, LGBM = "lgbm_tfidf,lstm", "lgbm_tfidf"
# The last algorithm trains long enough to be killed. LightGBM alone starts without TensorFlow.
HYPERPARAMETERS = {BOTH: "lstm: {epochs: 12, patience: 12}\n", LGBM: "lgbm: {rounds: 3000}\n"}


@pytest.fixture
def demo_installation_on_postgresql(postgresql_installation: Installation) -> Installation:
    postgresql_installation.must("load_demo")
    return postgresql_installation


def power_cut(installation: Installation, algorithms: str) -> str:
    """Kill all processes in the last training, after the others have succeeded. Returns the id of the run."""
    installation.set_hyperparameters(HYPERPARAMETERS[algorithms])
    with installation.start("train_models", *SUBJECT, algorithms) as command:
        worker = training(installation, command, algorithms.split(",")[-1])
        (job,) = processes(command, "-m job")
        for process in (command, job, worker):
            process.send_signal(signal.SIGKILL)
        command.wait()
        wait_for(lambda: not job.is_running() and not worker.is_running())
    *others, last = installation.rows()
    assert [row["success"] for row in others] == [True] * algorithms.count(",")
    assert last["success"] is None
    return last["run_id"]


@pytest.mark.slow
def test_a_killed_run_is_resumed_in_its_open_rows(demo_installation: Installation):
    run_id = power_cut(demo_installation, BOTH)
    before = demo_installation.rows()

    output = demo_installation.must("train_models", "--resume", run_id)

    lgbm, lstm = demo_installation.rows()
    assert f"neurology/migraine-prevention: run {run_id} is resumed, attempt 2: lstm {lstm['version']}\n" in output
    assert (lgbm["metrics"], lgbm["artifact"]) == (before[0]["metrics"], before[0]["artifact"])
    assert [(row["id"], row["version"]) for row in (lgbm, lstm)] == [(row["id"], row["version"]) for row in before]
    assert [(row["success"], row["run_id"], row["attempt"], row["state"]) for row in (lgbm, lstm)] == [(True, run_id, 2, "succeeded")] * 2
    assert (demo_installation.models / lstm["artifact"] / "metrics.json").is_file()
    assert not list(demo_installation.models.glob(f"*/*/.runs/{run_id}"))
    assert "2 version folders, all complete and unchanged" in demo_installation.must("verify_models")

    again = demo_installation.manage("train_models", "--resume", run_id)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"CommandError: run {run_id} of neurology/migraine-prevention succeeded: nothing to resume\n"


@pytest.mark.slow
def test_a_closed_row_stays_closed_and_the_run_is_resumed_in_a_new_one(demo_installation: Installation):
    run_id = power_cut(demo_installation, LGBM)
    report = demo_installation.must("reconcile_runs", "--once")
    closed = demo_installation.rows()

    demo_installation.must("train_models", "--resume", run_id)

    assert f"ended without a report; resume it with: python manage.py train_models --resume {run_id}\n" in report
    failed, new = demo_installation.rows()
    assert (failed["id"], failed["success"], failed["error"]) == (closed[0]["id"], False, closed[0]["error"])
    assert (new["run_id"], new["attempt"], new["success"]) == (run_id, 2, True)
    assert (new["algorithm"], new["version"]) == ("lgbm_tfidf", f"{failed['version']}_2")
    folders = [path.name for path in demo_installation.models.glob("neurology/migraine-prevention/lgbm_tfidf/*")]
    assert folders == [new["version"]]


@pytest.mark.slow
def test_a_run_in_progress_is_not_resumed(demo_installation: Installation):
    demo_installation.set_hyperparameters(HYPERPARAMETERS[LGBM])
    with demo_installation.start("train_models", *SUBJECT, LGBM) as command:
        worker = training(demo_installation, command, "lgbm_tfidf")
        (job,) = processes(command, "-m job")
        run_id = demo_installation.rows()[0]["run_id"]
        # The run must not end before the command reads its row.
        worker.suspend()

        refused = demo_installation.manage("train_models", "--resume", run_id)

        worker.resume()
        assert command.wait(timeout=600) == 0
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"CommandError: run {run_id} of neurology/migraine-prevention may be at work, nothing is resumed: process {job.pid} runs\n"
    )
    assert [(row["success"], row["attempt"]) for row in demo_installation.rows()] == [(True, 1)]


@pytest.mark.slow
def test_an_interrupted_run_says_next_commands_and_does(demo_installation: Installation):
    demo_installation.set_hyperparameters(HYPERPARAMETERS[BOTH])
    with demo_installation.start("train_models", *SUBJECT, BOTH) as command:
        training(demo_installation, command, "lstm")
        command.send_signal(signal.SIGTERM)
        output, _ = command.communicate(timeout=600)
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
    run_id = power_cut(installation, LGBM)

    with installation.start("train_models", "--resume", run_id) as one, installation.start("train_models", "--resume", run_id) as other:
        told = [command.communicate(timeout=600)[0] for command in (one, other)]

    assert sorted((one.returncode, other.returncode)) == [0, 1]
    (refused,) = [output for output, command in zip(told, (one, other), strict=True) if command.returncode == 1]
    assert refused.startswith(f"CommandError: run {run_id} of neurology/migraine-prevention ")
    assert "was just resumed or ended by another process" in refused or "may be at work, nothing is resumed" in refused
    assert [(row["success"], row["attempt"]) for row in installation.rows()] == [(True, 2)]
