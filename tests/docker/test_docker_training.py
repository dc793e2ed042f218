"""Trainings in containers, from the command line to the rows, with a real engine and a real PostgreSQL."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gregory.launch.docker.container import LABEL
from gregory.ml.artifacts import read_manifest
from tests.articles import labelled, store
from tools.docker_engine import Engine
from tools.installation import Installation

pytestmark = pytest.mark.slow

SMALL = ("train_models", "--team", "team", "--subject", "subject", "--all-articles")


@pytest.fixture
def small_installation(docker_installation: Installation) -> Installation:
    """Two dozen labelled articles of one subject."""
    store(docker_installation, labelled(24, first=1), team="team", subject="subject")
    return docker_installation


def until(condition: Callable[[], Any], *, what: str, seconds: float = 600) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds:.0f} s")


def container_running(engine: Engine) -> str:
    """The id of the one container, as soon as its run has started."""

    def running() -> str | None:
        # Not the container that is tried before.
        ids = engine.must("ps", "--quiet", "--no-trunc", "--filter", f"label={LABEL}.run-id").split()
        return ids[0] if ids and "Started run" in engine.must("logs", ids[0]) else None

    return until(running, what="running container")


@contextmanager
def training(installation: Installation, engine: Engine, *flags: str, **environment: str) -> Iterator[tuple[Any, str]]:
    with installation.start(*SMALL, *flags, **environment) as command:
        yield command, container_running(engine)


class TestTheDemo:
    def test_demo_subject_with_the_bundle_of_the_image(self, docker_installation: Installation, docker_engine: Engine, cpu_image: str):
        docker_installation.must("load_demo")
        # More epochs would not test more.
        docker_installation.set_hyperparameters("bert: {epochs: 1}\nlstm: {epochs: 3}\n")
        flags = ("--team", "neurology", "--subject", "migraine-prevention", "--all-articles", "--verbose", "3")

        done = docker_installation.manage("train_models", *flags, timeout=900, GREGORY_DOCKER_BASE_MODELS="image")

        assert done.returncode == 0, done.stdout + done.stderr
        rows = docker_installation.rows()
        assert [(row["algorithm"], row["success"], row["runner"], row["state"]) for row in rows] == [
            (algorithm, True, "docker", "succeeded") for algorithm in ("pubmed_bert", "lgbm_tfidf", "lstm")
        ]
        image_id = docker_engine.must("image", "inspect", "--format={{.Id}}", cpu_image).strip()
        for row in rows:
            folder = docker_installation.models / row["artifact"]
            assert {(path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.rglob("*"))} == {(12345, 12345)}
            assert read_manifest(folder).provenance.image_digest == image_id
        docker_installation.must("verify_models")
        # The command printed the log. Nothing is left of a succeeded run.
        assert "Finished version" in done.stdout
        assert docker_engine.containers() == []
        assert list(docker_installation.models.glob("[!.]*/[!.]*/.runs/[!.]*")) == []


class TestOpenShift:
    def test_a_user_of_the_namespace_trains_with_group_0(self, small_installation: Installation, docker_engine: Engine):
        """OpenShift gives each namespace user ids of its own, without accounts, in the group 0."""
        os.chown(small_installation.models, 54321, 0)
        small_installation.models.chmod(0o2770)

        done = small_installation.manage(*SMALL, "--algo", "lgbm_tfidf", GREGORY_DOCKER_USER="1000680000:0")

        assert done.returncode == 0, done.stdout + done.stderr
        (row,) = small_installation.rows()
        folder = small_installation.models / row["artifact"]
        assert {(path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.rglob("*"))} == {(1000680000, 0)}


class TestEnds:
    def test_stage_that_exceeds_the_memory_limit(self, small_installation: Installation, docker_engine: Engine):
        done = small_installation.manage(*SMALL, "--algo", "pubmed_bert,lgbm_tfidf", GREGORY_DOCKER_MEMORY="384m")

        rows = {row["algorithm"]: row for row in small_installation.rows()}
        assert done.returncode == 1
        assert (rows["pubmed_bert"]["success"], rows["pubmed_bert"]["reason"]) == (False, "out_of_memory"), rows["pubmed_bert"]["error"]
        assert "the limit is 384 MiB" in rows["pubmed_bert"]["error"]
        assert rows["lgbm_tfidf"]["success"] is True
        (container,) = docker_engine.containers()
        assert container["State"]["OOMKilled"] is True
        log, run_id = docker_engine.must("logs", container["Id"]), rows["pubmed_bert"]["run_id"]
        first, *others = log.splitlines()
        assert f" INFO {run_id} team/subject: Started run {run_id}: pubmed_bert, lgbm_tfidf; all articles" in first
        failed = f" ERROR {run_id} team/subject/pubmed_bert: Failed version {rows['pubmed_bert']['version']}: "
        assert any(failed in line for line in others), log
        assert "\r" not in log

    def test_sigterm_for_the_command_interrupts_the_run(self, small_installation: Installation, docker_engine: Engine):
        with training(small_installation, docker_engine) as (command, _):
            command.terminate()
            assert command.wait(300) == 143

        assert {(row["success"], row["reason"]) for row in small_installation.rows()} == {(False, "interrupted")}
        assert [container["State"]["ExitCode"] for container in docker_engine.containers()] == [143]

    def test_container_continues_without_its_command_and_closes_its_rows(self, small_installation: Installation, docker_engine: Engine):
        with training(small_installation, docker_engine, "--algo", "pubmed_bert,lgbm_tfidf") as (command, container):
            command.kill()
            command.wait(60)
        (line, _) = small_installation.must("reconcile_runs", "--once").splitlines()
        assert "left alone: container gregory-train-" in line

        until(lambda: not docker_engine.must("ps", "--quiet"), what="end of the container")

        assert {(row["success"], row["state"]) for row in small_installation.rows()} == {(True, "succeeded")}
        assert docker_engine.must("inspect", "--format={{.State.ExitCode}}", container).strip() == "0"

    def test_reconciler_closes_a_killed_container_without_a_command(self, small_installation: Installation, docker_engine: Engine):
        with training(small_installation, docker_engine) as (command, container):
            command.kill()
            command.wait(60)
        docker_engine.must("kill", container)

        closed = small_installation.must("reconcile_runs", "--once")

        assert "closed (killed): container gregory-train-" in closed
        assert {(row["success"], row["reason"], row["exit_code"]) for row in small_installation.rows()} == {(False, "killed", 137)}

    def test_run_is_resumed_in_another_container(self, small_installation: Installation, docker_engine: Engine):
        with training(small_installation, docker_engine, "--algo", "lgbm_tfidf") as (command, container):
            docker_engine.must("kill", container)
            assert command.wait(300) == 1
        run_id = small_installation.rows()[0]["run_id"]

        done = small_installation.manage("train_models", "--resume", run_id)

        assert done.returncode == 0, done.stdout + done.stderr
        assert [(row["success"], row["attempt"]) for row in small_installation.rows()] == [(False, 2), (True, 2)]

    def test_daemon_is_killed_and_returns(self, small_installation: Installation, docker_engine: Engine):
        """The returning daemon sends SIGTERM to the container. The run closes its rows."""
        with training(small_installation, docker_engine) as (command, _):
            docker_engine.kill()
            time.sleep(3)
            docker_engine.start()
            output = command.communicate(timeout=600)[0]

        assert command.returncode == 1, output
        assert {(row["success"], row["reason"]) for row in small_installation.rows()} == {(False, "interrupted")}
        assert {row["error"].split(" in stage")[0] for row in small_installation.rows()} == {"interrupted by signal 15 (SIGTERM)"}

    def test_daemon_and_container_are_killed(self, small_installation: Installation, docker_engine: Engine):
        with training(small_installation, docker_engine) as (command, container):
            process = int(docker_engine.must("inspect", "--format={{.State.Pid}}", container))
            docker_engine.kill()
            os.kill(process, signal.SIGKILL)
            time.sleep(3)
            docker_engine.start()
            output = command.communicate(timeout=600)[0]

        assert command.returncode == 1, output
        rows = small_installation.rows()
        assert {row["success"] for row in rows} == {False}
        assert {row["reason"] for row in rows} <= {"killed", "lost"}
        assert all(f"container gregory-train-{row['run_id']}-a1" in row["error"] for row in rows), rows[0]["error"]
