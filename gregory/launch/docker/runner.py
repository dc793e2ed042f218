"""Execute runs as containers of one Docker host, one at a time.

The image is one of Dockerfile.train; models and base models are mounted. A container continues after the end of the command that
started it, and closes its rows itself. Run and attempt determine its name. A label with the attempt's token identifies it.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container

from gregory.env import DATABASE_VARIABLES
from gregory.launch import database, preconditions, processes
from gregory.launch.docker import diagnose, probe
from gregory.launch.docker.container import INSIDE_IMAGE, LABEL, container_name, container_request, is_folder
from gregory.launch.docker.daemon import containers_of, created, end_of, host_of, maps_users_of, start_container
from gregory.launch.docker.logs import UNREACHABLE, stream, words
from gregory.launch.errors import PreconditionFailed, SubmitError, TerminationTimeout
from gregory.launch.log_stream import Cursor, follow
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.runs.diagnosis import Diagnosis, log_tail_of
from gregory.runs.spec import Attempt, HandleKind, RunHandle, RunSpec

TIMEOUT_SECONDS = 30
RECONNECT_SECONDS = 2.0
# A log stream without data for this time is opened again, so that a reader thread without a caller ends.
SILENCE_SECONDS = 60.0


class DockerRunner:
    """Containers of the daemon that DOCKER_HOST names. The default is the daemon of this machine."""

    name = "docker"
    durable = False
    max_parallel: int | None = 1
    # If the models are in a volume, the submitting process does not see them. It then resumes nothing.
    shares_models_dir = True
    max_attempts = 1

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._options = installation.environment
        self.stall_seconds = self._options.GREGORY_STALL_AFTER
        self._models = self._options.GREGORY_DOCKER_MODELS or str(installation.models_dir)
        self.sees_models = self._models == str(installation.models_dir)
        self._base_models = self._options.GREGORY_DOCKER_BASE_MODELS or str(installation.bundle_dir)

    @property
    def gives_gpu(self) -> bool:
        """Whether containers get a GPU."""
        return bool(self._options.GREGORY_DOCKER_GPUS)

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Check daemon, image, models folder and base models, then a container like that of a run. Raises PreconditionFailed."""
        if not self._options.POSTGRES_DB:
            raise PreconditionFailed(
                "the docker runner needs PostgreSQL, which a container can reach; set POSTGRES_DB, or use --runner local"
            )
        database.require_transferable(self._installation.inherited, place="a container")
        try:
            with self._daemon() as daemon:
                image, maps_users = daemon.images.get(self._options.GREGORY_DOCKER_IMAGE), maps_users_of(daemon)
        except ImageNotFound as error:
            raise PreconditionFailed(
                f"the image {self._options.GREGORY_DOCKER_IMAGE} is not on this Docker host; build it from Dockerfile.train, "
                "or pull it and name it in GREGORY_DOCKER_IMAGE"
            ) from error
        except UNREACHABLE as error:
            raise PreconditionFailed(f"the Docker daemon does not answer: {error}; start it, or name its address in DOCKER_HOST") from error
        user = self.user_of_containers(maps_users=maps_users)
        if is_folder(self._models):
            preconditions.require_models_folder(Path(self._models), specs)
            if not maps_users:
                named = user or image.attrs["Config"].get("User", "")
                preconditions.require_writable_by(named, Path(self._models), specs, remedy="set GREGORY_DOCKER_USER")
        if self._base_models != INSIDE_IMAGE and is_folder(self._base_models):
            preconditions.require_bundle(Path(self._base_models), digest=self._options.GREGORY_BASE_MODELS_DIGEST)
            preconditions.require_fitting_bundle(Path(self._base_models), specs)
            preconditions.require_readable_bundle(Path(self._base_models))
        # The last check tries the rest: the address of the database, its certificate, the GPUs and the folders, as a container sees them.
        with self._daemon(timeout=probe.SECONDS) as daemon:
            request = self._completed(daemon, self.render(preconditions.probe_spec()).request, user=user)
            probe.require_working_container(daemon, request, [folder for folder, _ in preconditions.algorithm_folders(Path(), specs)])

    def owner_handle(self) -> RunHandle:
        """This process."""
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        """The request to the Docker API, without the database credentials and the values that only the daemon knows."""
        request = container_request(
            spec,
            self._options,
            models=self._models,
            base_models=self._base_models,
            files=database.files(self._installation.inherited),
        )
        return Rendered(spec=spec, request=request)

    def submit(self, rendered: Rendered) -> RunHandle:
        """Create and start the container, or find the one of an earlier call for this attempt. Raises SubmitError."""
        spec, request = rendered.spec, rendered.request
        try:
            with self._daemon() as daemon:
                handle = RunHandle(host=host_of(daemon), name=request["name"], uid=spec.attempt_token)
                request = self._completed(daemon, request, user=self.user_of_containers(maps_users=maps_users_of(daemon)))
                request["environment"]["GREGORY_RUN_HANDLE"] = handle.model_dump_json()
                if is_folder(self._models):
                    probe.prepare_folder(daemon, request)
                start_container(created(daemon, spec, request))
        except UNREACHABLE as error:
            raise SubmitError(f"cannot start {spec.label} in a container: {words(error)}") from error
        return handle

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """List all containers of this project once, and inspect those that ended."""
        if not any(_is_container(handle) for handle in handles):
            return [processes.observe(handle) for handle in handles]
        try:
            with self._daemon() as daemon:
                host, containers = host_of(daemon), containers_of(daemon)
                return [_observe(handle, host, containers) for handle in handles]
        except UNREACHABLE as error:
            detail = f"the Docker daemon does not answer ({words(error)})"
            return [
                Observation(status=Status.UNKNOWN, detail=detail) if _is_container(handle) else processes.observe(handle)
                for handle in handles
            ]

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """Send SIGTERM to the container, and SIGKILL after the grace period. Raises TerminationTimeout."""
        # The client must wait longer than the daemon, which answers after the grace period.
        try:
            with suppress(NotFound), self._daemon(timeout=TIMEOUT_SECONDS + grace_seconds) as daemon:
                container = daemon.containers.get(handle.name)
                if container.labels.get(f"{LABEL}.attempt-token") == handle.uid:
                    container.stop(timeout=int(grace_seconds))
        except UNREACHABLE as error:
            raise TerminationTimeout(
                f"the Docker daemon does not answer, so container {handle.name} may still run: {words(error)}"
            ) from error

    def logs(self, spec: Attempt, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        """Lines of the container's log. After a broken connection it continues at the same line."""
        cursor = Cursor()
        daemon = partial(self._daemon, timeout=SILENCE_SECONDS)
        status = Status.UNKNOWN
        while True:
            yield from follow(stream(daemon, handle.name), cursor, waiting=waiting)
            # Only a stream that began after the end contains the whole log.
            if status is Status.TERMINATED:
                yield from cursor.rest()
                return
            status = self.observe([handle])[0].status
            if status is Status.TERMINATED:
                continue
            if not waiting() and status is Status.UNKNOWN:
                return
            time.sleep(RECONNECT_SECONDS)

    def log_tail(self, spec: Attempt) -> str:
        """The end of the container's log."""
        try:
            with self._daemon() as daemon:
                return _log_tail(daemon.containers.get(container_name(spec)))
        except UNREACHABLE:
            return ""

    def debug_commands(self, spec: Attempt, handle: RunHandle) -> list[str]:
        """Commands for the Docker host of the container."""
        name = container_name(spec)
        return [f"docker logs --follow {name}", f"docker inspect {name}"]

    def cleanup(self, spec: Attempt) -> None:
        """Remove the container, and the empty working folder of a prediction, which is a mount in its container."""
        with suppress(*UNREACHABLE), self._daemon() as daemon:
            daemon.containers.get(container_name(spec)).remove(force=True)
        with suppress(OSError):
            spec.folder(Path(self._models)).path.rmdir()

    def collect_garbage(
        self, unfinished: Collection[str], *, recent: Collection[str] = (), keep_seconds: float, now: datetime | None = None
    ) -> list[str]:
        """Remove containers of this installation that ended more than `keep_seconds` ago."""
        removed = []
        with suppress(*UNREACHABLE), self._daemon() as daemon:
            # The daemon has written the times of its containers.
            present = datetime.fromisoformat(daemon.info()["SystemTime"])
            for container in daemon.containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL}.models={self._models}"}):
                run_id = container.labels.get(f"{LABEL}.run-id")
                if container.attrs["State"]["Running"] or run_id in unfinished or run_id in recent:
                    continue
                # A trial holds no evidence, but the password of the database.
                keep = min(keep_seconds, probe.KEEP_SECONDS) if probe.LABEL_OF_TRIAL in container.labels else keep_seconds
                if present - end_of(container) > timedelta(seconds=keep):
                    container.remove()
                    removed.append(f"container {container.name}")
        return removed

    @contextmanager
    def _daemon(self, *, timeout: float | None = TIMEOUT_SECONDS) -> Iterator[docker.DockerClient]:
        client = docker.from_env(timeout=timeout, environment=dict(self._installation.inherited))
        try:
            yield client
        finally:
            client.close()

    def _completed(self, daemon: docker.DockerClient, request: Mapping[str, Any], *, user: str) -> dict[str, Any]:
        """The request with image, user and database."""
        image = daemon.images.get(request["image"])
        variables = {
            **database.credentials(self._installation.inherited),
            **database.connection(self._installation.inherited),
            DATABASE_VARIABLES["host"]: self._options.GREGORY_DOCKER_DB_HOST or self._options.DB_HOST,
            **request["environment"],
            "GREGORY_IMAGE_DIGEST": (image.attrs.get("RepoDigests") or [image.id])[0],
        }
        return {**request, "image": image.id, "environment": variables} | ({"user": user} if user else {})

    def user_of_containers(self, *, maps_users: bool) -> str:
        """The user of the container, who owns the models. Empty means the user of the image."""
        if self._options.GREGORY_DOCKER_USER or not is_folder(self._models) or maps_users:
            return self._options.GREGORY_DOCKER_USER
        owner = Path(self._models).stat()
        return "" if owner.st_uid == 0 else f"{owner.st_uid}:{owner.st_gid}"


def _observe(handle: RunHandle, host: str, containers: Mapping[str, Container]) -> Observation:
    if not _is_container(handle):
        return processes.observe(handle)
    if handle.host != host:
        return Observation(status=Status.UNKNOWN, detail=f"container {handle.name} belongs to {handle.host}")
    container = containers.get(handle.name)
    if container is None or container.attrs["Labels"].get(f"{LABEL}.attempt-token") != handle.uid:
        summary = f"container {handle.name} does not exist any more: it was removed and left no outcome report"
        return Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary=summary))
    if container.attrs["State"] not in ("created", "exited", "dead", "removing"):
        return Observation(status=Status.ALIVE, detail=f"container {handle.name}: {container.attrs['Status']}")
    container.reload()
    return Observation(status=Status.TERMINATED, diagnosis=diagnose.ended_container(container.attrs, _log_tail(container)))


def _log_tail(container: Container) -> str:
    return log_tail_of(container.logs(tail=100))


def _is_container(handle: RunHandle) -> bool:
    """Whether the run was submitted. Before that, its handle is that of the submitting process."""
    return handle.kind is HandleKind.CONTAINER
