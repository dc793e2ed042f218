"""The Docker runner: its request to the daemon, its checks before any row, adopted and refused containers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.launch.docker.container import container_name
from gregory.launch.docker.runner import DockerRunner
from gregory.launch.errors import PreconditionFailed, SubmitError
from gregory.launch.image import BASE_MODELS_IN_IMAGE, PROJECT_IN_IMAGE
from gregory.launch.runner import Rendered, Status
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from tests.database_rows import prediction
from tests.launch.example_run import at_once
from tests.tiny_bundle import tiny_bundle
from tools import postgresql
from tools.docker_engine import Engine
from tools.installation import REPOSITORY, create_migrated
from tools.launch_installation import installation

READY = {"POSTGRES_DB": "gregory", "GREGORY_DOCKER_NETWORK": "host"}
ELSEWHERE = r"GREGORY_DOCKER_NETWORK and GREGORY_DOCKER_DB_HOST determine how a container reaches the database, .*$"


def docker_runner(models: Path, bundle: Path | None = None, **variables: str) -> DockerRunner:
    return DockerRunner(installation(models, bundle=bundle, **variables))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder that belongs to another user."""
    folder = tmp_path / "models"
    folder.mkdir()
    os.chown(folder, 12345, 23456)
    return folder


@pytest.fixture
def engine_variables(docker_engine: Engine, submit_image: str) -> Iterator[dict[str, str]]:
    """Variables with the address of the engine and an image on it."""
    yield {"DOCKER_HOST": docker_engine.host, "GREGORY_DOCKER_IMAGE": submit_image}
    docker_engine.remove_containers()


@pytest.fixture(scope="module")
def database(postgresql_server: postgresql.Server) -> dict[str, str]:
    """The variables of a migrated database, which a container in the network of the host reaches."""
    create_migrated(postgresql_server, "docker_runner")
    return {**postgresql_server.environment("docker_runner"), "GREGORY_DOCKER_NETWORK": "host"}


def code(runner: DockerRunner, spec: RunSpec, text: str) -> Rendered:
    request = runner.render(spec).request
    # The code needs no network.
    return Rendered(spec=spec, request={**request, "network_mode": "none", "entrypoint": ["dumb-init", "--", "python", "-c", text]})


class TestRequest:
    def test_container_has_no_unneeded_rights(self, spec, models: Path):
        request = docker_runner(models).render(spec).request

        assert {key: request[key] for key in ("read_only", "pids_limit", "cap_drop", "security_opt")} == {
            "read_only": True,
            "pids_limit": 4096,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
        }
        assert [(mount["Source"], mount["Target"], mount["Type"], mount["ReadOnly"]) for mount in request["mounts"]] == [
            (f"{models}/team/subject", f"{PROJECT_IN_IMAGE}/models/team/subject", "bind", False),
            (str(models / "no bundle"), BASE_MODELS_IN_IMAGE, "bind", True),
        ]

    def test_image_and_mounts_use_the_same_folders(self):
        dockerfile = (REPOSITORY / "Dockerfile.train").read_text(encoding="utf-8")

        assert f"WORKDIR {PROJECT_IN_IMAGE}\n" in dockerfile
        assert f"GREGORY_BASE_MODELS={BASE_MODELS_IN_IMAGE} " in dockerfile

    def test_volumes_and_the_bundle_inside_the_image(self, spec, models: Path):
        options = {"GREGORY_DOCKER_MODELS": "gregory-models", "GREGORY_DOCKER_BASE_MODELS": "image"}

        (mount,) = docker_runner(models, **options).render(spec).request["mounts"]

        # Docker mounts no part of a volume before version 26.
        assert (mount["Source"], mount["Target"], mount["Type"]) == ("gregory-models", f"{PROJECT_IN_IMAGE}/models", "volume")

    def test_limits(self, spec, models: Path):
        request = docker_runner(models, GREGORY_DOCKER_MEMORY="8g", GREGORY_DOCKER_SHM="2g").render(spec).request

        assert (request["mem_limit"], request["memswap_limit"], request["shm_size"]) == ("8g", "8g", "2g")

    def test_a_container_gets_the_required_digest_of_the_base_models(self, spec, models: Path):
        environment = docker_runner(models, GREGORY_BASE_MODELS_DIGEST="0" * 64).render(spec).request["environment"]

        assert environment["GREGORY_BASE_MODELS_DIGEST"] == "0" * 64

    @pytest.mark.parametrize(("gpus", "count"), [("all", -1), ("2", 2)])
    def test_requested_gpus_are_required(self, spec, models: Path, gpus: str, count: int):
        runner = docker_runner(models, GREGORY_DOCKER_GPUS=gpus)

        (device,) = runner.render(spec).request["device_requests"]

        assert (device["Count"], device["Capabilities"], runner.gives_gpu) == (count, [["gpu"]], True)

    def test_labels_identify_the_run(self, spec, models: Path):
        assert docker_runner(models).render(spec).request["labels"] == {
            "gregory-train.run-id": "0123456789ab",
            "gregory-train.attempt": "1",
            "gregory-train.attempt-token": "token",
            "gregory-train.team": "team",
            "gregory-train.subject": "subject",
            "gregory-train.models": str(models),
            "gregory-train.image": "gregory-train:cpu",
        }


class TestCheck:
    def test_complete_settings_pass_and_leave_no_container(
        self, engine_variables, models: Path, small_bundle: Path, database: dict[str, str], docker_engine: Engine
    ):
        docker_runner(models, small_bundle, **engine_variables, **database).check([])

        assert docker_engine.containers() == []

    def test_no_daemon(self, models: Path, tmp_path: Path):
        with pytest.raises(
            PreconditionFailed, match=r"^the Docker daemon does not answer: .*; start it, or name its address in DOCKER_HOST$"
        ):
            docker_runner(models, DOCKER_HOST=f"unix://{tmp_path}/nothing.sock", **READY).check([])

    def test_no_image(self, engine_variables, models: Path):
        with pytest.raises(PreconditionFailed, match=r"^the image gregory-train:none is not on this Docker host; build it"):
            docker_runner(models, **{**engine_variables, **READY, "GREGORY_DOCKER_IMAGE": "gregory-train:none"}).check([])

    def test_sqlite_is_refused(self, engine_variables, models: Path):
        with pytest.raises(PreconditionFailed, match=r"^the docker runner needs PostgreSQL, .*; set POSTGRES_DB, or use --runner local$"):
            docker_runner(models, **engine_variables).check([])

    @pytest.mark.parametrize("host", ["127.0.1.1", "LOCALHOST", "0.0.0.0", "ip6-localhost", "", "/var/run/postgresql"])
    def test_an_address_that_only_the_host_reaches_is_refused(
        self, engine_variables, models: Path, small_bundle: Path, database: dict[str, str], docker_engine: Engine, host: str
    ):
        # Without a network, a container has only its own loopback, as in a bridge.
        variables = {**engine_variables, **database, "DB_HOST": host, "GREGORY_DOCKER_NETWORK": "none"}

        with pytest.raises(PreconditionFailed, match=rf"^in a container for a run: the database cannot be used: .*; {ELSEWHERE}"):
            docker_runner(models, small_bundle, **variables).check([])

        assert docker_engine.containers() == []

    def test_database_can_have_another_name_inside(self, engine_variables, models: Path, small_bundle: Path, database: dict[str, str]):
        variables = {**engine_variables, **database, "DB_HOST": "nowhere.invalid", "GREGORY_DOCKER_DB_HOST": "127.0.0.1"}

        docker_runner(models, small_bundle, **variables).check([])

    def test_host_without_gpu_is_refused(self, engine_variables, models: Path, small_bundle: Path, database: dict[str, str]):
        runner = docker_runner(models, small_bundle, GREGORY_DOCKER_GPUS="all", **engine_variables, **database)

        with pytest.raises(PreconditionFailed, match=rf"^a container for a run cannot be started: could not select device .*; {ELSEWHERE}"):
            runner.check([])

    def test_variables_of_libpq_reach_the_container(self, engine_variables, models: Path, small_bundle: Path, database: dict[str, str]):
        runner = docker_runner(models, small_bundle, PGOPTIONS="-c search_path=nowhere", **engine_variables, **database)

        with pytest.raises(PreconditionFailed, match=r"^in a container for a run: .*the database has no table "):
            runner.check([])

    def test_list_of_revoked_certificates_is_refused(self, models: Path):
        with pytest.raises(PreconditionFailed, match=r"^PGSSLCRL=/k belongs to a file of this machine, which a container does not have; "):
            docker_runner(models, PGSSLCRL="/k", **READY).check([])

    def test_models_folder_of_root_is_refused(self, engine_variables, models: Path):
        os.chown(models, 0, 0)

        with pytest.raises(
            PreconditionFailed, match=rf"^the models folder {models} cannot be written by the containers' user 10001:10001; chown -R"
        ):
            docker_runner(models, **engine_variables, **READY).check([])

    def test_missing_bundle_is_refused(self, engine_variables, models: Path):
        with pytest.raises(PreconditionFailed, match=r"there is no base-model bundle"):
            docker_runner(models, models / "nowhere", **engine_variables, **READY).check([])

    def test_private_bundle_is_refused(self, engine_variables, models: Path, tmp_path: Path):
        bundle = tiny_bundle(tmp_path / "base_models")
        weights = bundle / "encoder" / "model.safetensors"
        weights.chmod(0o600)

        with pytest.raises(PreconditionFailed, match=rf"^{weights} cannot be read by the containers' user; chmod -R a\+rX {bundle}$"):
            docker_runner(models, bundle, **engine_variables, **READY).check([])


class TestSubmit:
    def test_files_belong_to_the_owner_of_the_models_folder(self, engine_variables, spec, models: Path):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, **engine_variables, **READY)

        handle = runner.submit(code(runner, spec, "import os; open('models/team/subject/file', 'w'); print(os.getuid(), os.getgid())"))

        assert list(runner.logs(spec, handle, waiting=at_once)) == ["12345 23456"]
        owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in models.glob("team/**/*")}
        assert owners == dict.fromkeys(("subject", ".runs", spec.run_id, "file"), (12345, 23456))

    def test_a_run_sees_no_folder_of_another_subject(self, engine_variables, spec, models: Path):
        (models / "no bundle").mkdir()
        (models / "other" / "subject" / "lstm").mkdir(parents=True)
        runner = docker_runner(models, **engine_variables, **READY)

        seen = "import glob; print(*sorted(glob.glob('models/*/*')), *glob.glob('models/.*'))"
        handle = runner.submit(code(runner, spec, seen))

        assert list(runner.logs(spec, handle, waiting=at_once)) == ["models/team/subject"]

    def test_a_prediction_writes_into_its_working_folder_only(self, engine_variables, models: Path):
        (models / "no bundle").mkdir()
        (models / "team" / "subject").mkdir(parents=True)
        for folder in (models / "team", models / "team" / "subject"):
            os.chown(folder, 12345, 23456)
        runner, spec = docker_runner(models, **engine_variables, **READY), prediction(2, team_id=1)

        writes = f"open('models/team/subject/.runs/{spec.run_id}/file', 'w'); open('models/team/subject/file', 'w')"
        handle = runner.submit(code(runner, spec, writes))

        *_, refused = runner.logs(spec, handle, waiting=at_once)
        assert refused == "OSError: [Errno 30] Read-only file system: 'models/team/subject/file'"
        assert (models / "team/subject/.runs" / spec.run_id / "file").exists()

    def test_long_line_has_no_time_stamp_inside(self, engine_variables, spec, models: Path):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, **engine_variables, **READY)

        handle = runner.submit(code(runner, spec, "print('x' * 40_000); print('end')"))

        assert list(runner.logs(spec, handle, waiting=at_once)) == ["x" * 40_000, "end"]

    def test_container_gets_its_handle_and_the_database(self, engine_variables, spec, models: Path, docker_engine: Engine):
        (models / "no bundle").mkdir()
        credentials = {"POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "DB_HOST": "outside", "GREGORY_DOCKER_DB_HOST": "inside"}
        runner = docker_runner(models, **engine_variables, **READY, **credentials)

        handle = runner.submit(code(runner, spec, "import os; print(*(os.environ[n] for n in ('DB_HOST', 'POSTGRES_PASSWORD')))"))

        assert list(runner.logs(spec, handle, waiting=at_once)) == ["inside p"]
        (container,) = docker_engine.containers()
        environment = dict(entry.split("=", 1) for entry in container["Config"]["Env"])
        assert environment["GREGORY_RUN_HANDLE"] == handle.model_dump_json()
        assert environment["GREGORY_IMAGE_DIGEST"] == container["Image"]

    def test_second_submission_adopts_the_first_container(self, engine_variables, spec, models: Path, docker_engine: Engine):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, **engine_variables, **READY)
        rendered = code(runner, spec, "import time; print('once', flush=True); time.sleep(600)")
        handle = runner.submit(rendered)

        assert docker_runner(models, **engine_variables, **READY).submit(rendered) == handle

        assert len(docker_engine.containers()) == 1
        runner.cancel(handle, grace_seconds=1)

    def test_created_container_is_started(self, engine_variables, spec, models: Path, docker_engine: Engine):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, **engine_variables, **READY)
        labels = [f"--label={key}={value}" for key, value in runner.render(spec).request["labels"].items()]
        image = engine_variables["GREGORY_DOCKER_IMAGE"]
        docker_engine.must("create", "--name", container_name(spec), *labels, "--entrypoint=echo", "--network=none", image, "x")

        handle = runner.submit(code(runner, spec, "print('of the other one')"))

        assert list(runner.logs(spec, handle, waiting=at_once)) == ["x"]

    def test_foreign_container_of_the_same_name_is_not_changed(self, engine_variables, spec, models: Path, docker_engine: Engine):
        (models / "no bundle").mkdir()
        docker_engine.must("create", "--name", container_name(spec), "--network", "none", engine_variables["GREGORY_DOCKER_IMAGE"])
        runner = docker_runner(models, **engine_variables, **READY)

        with pytest.raises(SubmitError, match=r"^a container named gregory-train-0123456789ab-a1 exists and is not this run's; remove it"):
            runner.submit(code(runner, spec, "print()"))

        (foreign,) = docker_engine.containers()
        assert foreign["State"]["Status"] == "created"

    def test_host_without_gpu_is_refused(self, engine_variables, spec, models: Path, docker_engine: Engine):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, GREGORY_DOCKER_GPUS="all", **engine_variables, **READY)

        with pytest.raises(SubmitError, match=r"^cannot start team/subject in a container: could not select device driver"):
            runner.submit(code(runner, spec, "print()"))

        assert docker_engine.containers() == []

    def test_missing_folder_on_the_docker_host_is_refused(self, engine_variables, spec, models: Path, docker_engine: Engine):
        runner = docker_runner(models, **engine_variables, **READY)

        with pytest.raises(SubmitError, match=r"bind source path does not exist: .*/no bundle"):
            runner.submit(code(runner, spec, "print()"))

        assert docker_engine.containers() == []


class TestEnds:
    def test_out_of_memory_names_the_limit(self, engine_variables, spec, models: Path):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, GREGORY_DOCKER_MEMORY="64m", **engine_variables, **READY)
        handle = runner.submit(code(runner, spec, "print('growing', flush=True); x = bytearray(2**28); x[:] = b'x' * 2**28"))
        list(runner.logs(spec, handle, waiting=at_once))

        (observation,) = runner.observe([handle])

        assert (observation.status, observation.reason) == (Status.TERMINATED, Reason.OUT_OF_MEMORY)
        assert observation.text == (
            "OOMKilled: the kernel ended container gregory-train-0123456789ab-a1 for lack of memory: its memory limit is 64 MiB; "
            "raise GREGORY_DOCKER_MEMORY\nlast lines of its log:\ngrowing"
        )

    def test_removed_from_outside(self, engine_variables, spec, models: Path, docker_engine: Engine):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, **engine_variables, **READY)
        handle = runner.submit(code(runner, spec, "import time; time.sleep(600)"))

        docker_engine.remove_containers()

        (observation,) = runner.observe([handle])
        assert (observation.status, observation.reason) == (Status.TERMINATED, None)
        assert (
            observation.text == "container gregory-train-0123456789ab-a1 does not exist any more: it was removed and left no outcome report"
        )

    def test_without_the_daemon_every_run_is_unknown(self, engine_variables, spec, models: Path, tmp_path: Path):
        (models / "no bundle").mkdir()
        runner = docker_runner(models, **engine_variables, **READY)
        handle = runner.submit(code(runner, spec, "import time; time.sleep(600)"))
        nowhere = docker_runner(models, **{**engine_variables, **READY, "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"})

        container, process = nowhere.observe([handle, runner.owner_handle()])

        assert (container.status, process.status) == (Status.UNKNOWN, Status.ALIVE)
        assert container.text.startswith("the Docker daemon does not answer (")
        # The log ends as soon as the run store has the end of the run.
        assert list(nowhere.logs(spec, handle, waiting=lambda: False)) == []
        runner.cancel(handle, grace_seconds=1)
