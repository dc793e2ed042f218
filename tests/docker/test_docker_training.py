"""Trainings in containers, from the command line to the rows, on a real engine and a real PostgreSQL."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gregory.ml.artifacts import read_manifest
from tests.articles import labelled, store
from tools.docker_engine import Engine
from tools.installation import Installation

pytestmark = pytest.mark.slow

SMALL = ("train_models", "--team", "team", "--subject", "subject", "--all-articles")


@pytest.fixture
def small_site(docker_site: Installation) -> Installation:
    """Two dozen labelled articles of one subject."""
    store(docker_site, labelled(24, first=1), team="team", subject="subject")
    return docker_site


def until(condition: Callable[[], Any], *, what: str, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds:.0f} s")


def container_running(engine: Engine) -> str:
    """The id of the one container, once its run has begun a stage."""

    def running() -> str | None:
        ids = engine.must("ps", "--quiet", "--no-trunc").split()
        return ids[0] if ids and "Started run" in engine.must("logs", ids[0]) else None

    return until(running, what="running container")


@contextmanager
def training(installation: Installation, engine: Engine, *flags: str, **environment: str) -> Iterator[tuple[Any, str]]:
    with installation.start(*SMALL, *flags, **environment) as command:
        yield command, container_running(engine)


class TestTheDemo:
    def test_a_subject_of_the_demo_with_the_bundle_of_the_image(self, docker_site: Installation, docker_engine: Engine, cpu_image: str):
        docker_site.must("load_demo")
        # What is seen here does not get better with more of them.
        docker_site.set_hyperparameters("bert: {epochs: 1}\nlstm: {epochs: 3}\n")
        flags = ("--team", "neurology", "--subject", "migraine-prevention", "--all-articles", "--verbose", "3")

        done = docker_site.manage("train_models", *flags, timeout=900, GREGORY_DOCKER_BASE_MODELS="image")

        assert done.returncode == 0, done.stdout + done.stderr
        rows = docker_site.rows()
        assert [(row["algorithm"], row["success"], row["runner"], row["state"]) for row in rows] == [
            (algorithm, True, "docker", "succeeded") for algorithm in ("pubmed_bert", "lgbm_tfidf", "lstm")
        ]
        image_id = docker_engine.must("image", "inspect", "--format={{.Id}}", cpu_image).strip()
        for row in rows:
            folder = docker_site.models / row["artifact"]
            assert {(path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.rglob("*"))} == {(12345, 12345)}
            assert read_manifest(folder).provenance.image_digest == image_id
        docker_site.must("verify_models")
        # What a follower saw is what the log said, and nothing is left of a run that ended well.
        assert "Finished version" in done.stdout
        assert docker_engine.containers() == []
        assert list((docker_site.models / ".runs").iterdir()) == []


class TestEnds:
    def test_a_stage_that_needs_more_than_the_container_has(self, small_site: Installation, docker_engine: Engine):
        done = small_site.manage(*SMALL, "--algo", "pubmed_bert,lgbm_tfidf", GREGORY_DOCKER_MEMORY="512m")

        rows = {row["algorithm"]: row for row in small_site.rows()}
        assert done.returncode == 1
        assert (rows["pubmed_bert"]["success"], rows["pubmed_bert"]["reason"]) == (False, "out_of_memory"), rows["pubmed_bert"]["error"]
        assert "the limit is 512 MiB" in rows["pubmed_bert"]["error"]
        assert rows["lgbm_tfidf"]["success"] is True
        (container,) = docker_engine.containers()
        assert container["State"]["OOMKilled"] is True

    def test_what_a_failed_container_said_can_be_read_by_people(self, small_site: Installation, docker_engine: Engine):
        small_site.manage(*SMALL, "--algo", "lgbm_tfidf", GREGORY_HYPERPARAMETERS=str(too_many_leaves(small_site.folder)))

        (container,) = docker_engine.containers()
        log = docker_engine.must("logs", container["Id"])
        (row,) = small_site.rows()
        lines = log.splitlines()
        assert f" INFO {row['run_id']} team/subject: Started run {row['run_id']}: lgbm_tfidf; all articles" in lines[0]
        assert f" ERROR {row['run_id']} team/subject/lgbm_tfidf: Failed version {row['version']}: " in lines[-1]
        assert "\r" not in log

    def test_sigterm_for_the_command_ends_the_container_in_good_order(self, small_site: Installation, docker_engine: Engine):
        with training(small_site, docker_engine) as (command, _):
            command.terminate()
            assert command.wait(60) == 143

        assert {(row["success"], row["reason"]) for row in small_site.rows()} == {(False, "interrupted")}
        assert [container["State"]["ExitCode"] for container in docker_engine.containers()] == [143]

    def test_a_container_outlives_its_command_and_ends_its_rows_itself(self, small_site: Installation, docker_engine: Engine):
        with training(small_site, docker_engine, "--algo", "pubmed_bert,lgbm_tfidf") as (command, container):
            command.kill()
            command.wait(10)
        (line, _) = small_site.must("reconcile_runs", "--once").splitlines()
        assert "left alone: container gregory-train-" in line

        until(lambda: not docker_engine.must("ps", "--quiet"), what="end of the container")

        assert {(row["success"], row["state"]) for row in small_site.rows()} == {(True, "succeeded")}
        assert docker_engine.must("inspect", "--format={{.State.ExitCode}}", container).strip() == "0"

    def test_a_container_that_is_killed_while_nobody_follows_is_closed_by_reconciliation(
        self, small_site: Installation, docker_engine: Engine
    ):
        with training(small_site, docker_engine) as (command, container):
            command.kill()
            command.wait(10)
        docker_engine.must("kill", container)

        closed = small_site.must("reconcile_runs", "--once")

        assert "closed (killed): container gregory-train-" in closed
        assert {(row["success"], row["reason"], row["exit_code"]) for row in small_site.rows()} == {(False, "killed", 137)}

    def test_a_run_is_resumed_in_another_container(self, small_site: Installation, docker_engine: Engine):
        with training(small_site, docker_engine, "--algo", "lgbm_tfidf") as (command, container):
            docker_engine.must("kill", container)
            assert command.wait(60) == 1
        run_id = small_site.rows()[0]["run_id"]

        done = small_site.manage("train_models", "--resume", run_id)

        assert done.returncode == 0, done.stdout + done.stderr
        assert [(row["success"], row["attempt"]) for row in small_site.rows()] == [(False, 2), (True, 2)]

    def test_the_daemon_dies_and_comes_back(self, small_site: Installation, docker_engine: Engine):
        """As it comes back it ends what it finds running, by SIGTERM: the run closes its rows itself."""
        with training(small_site, docker_engine) as (command, _):
            docker_engine.kill()
            time.sleep(3)
            docker_engine.start()
            told = command.communicate(timeout=300)[0]

        assert command.returncode == 1, told
        assert {(row["success"], row["reason"]) for row in small_site.rows()} == {(False, "interrupted")}
        assert {row["error"].split(" in stage")[0] for row in small_site.rows()} == {"interrupted by signal 15 (SIGTERM)"}

    def test_the_daemon_dies_and_the_container_with_it(self, small_site: Installation, docker_engine: Engine):
        with training(small_site, docker_engine) as (command, container):
            process = int(docker_engine.must("inspect", "--format={{.State.Pid}}", container))
            docker_engine.kill()
            os.kill(process, signal.SIGKILL)
            time.sleep(3)
            docker_engine.start()
            told = command.communicate(timeout=300)[0]

        assert command.returncode == 1, told
        rows = small_site.rows()
        assert {row["success"] for row in rows} == {False}
        assert {row["reason"] for row in rows} <= {"killed", "lost"}
        assert all(f"container gregory-train-{row['run_id']}-a1" in row["error"] for row in rows), rows[0]["error"]


def too_many_leaves(folder: Path) -> Path:
    """LightGBM itself refuses that many."""
    path = folder / "broken.yaml"
    path.write_text(json.dumps({"lgbm": {"num_leaves": 200000}}))
    return path
