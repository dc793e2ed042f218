"""A real Docker engine: its own data folder outside the checkout, its own socket, no network of its own. It is ended by process id.

The data folder keeps everything that takes long to make: the base image, layers, and package caches of builds.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import psutil

from tools.installation import REPOSITORY

CACHE = Path.home() / ".cache" / "gregory-train"
# Debian's own client: another one on the PATH can lack the builder.
CLIENT, DAEMON, BOOTSTRAP = "/usr/bin/docker", "/usr/sbin/dockerd", "/usr/sbin/debootstrap"
COMPOSE = "/usr/bin/docker-compose"
PROGRAMS = (CLIENT, DAEMON, BOOTSTRAP)
REMEDY = "as root: apt-get install docker.io debootstrap"
LOCK = CACHE / ".docker.lock"
SUITE, PACKAGES = "bookworm", "python3,python3-venv,ca-certificates"
BASE = "gregory-base:" + hashlib.sha256(f"{SUITE} {PACKAGES}".encode()).hexdigest()[:12]


@dataclass(eq=False)
class Engine:
    """One daemon. Tests kill and start it."""

    folder: Path
    data: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def host(self) -> str:
        return f"unix://{self.folder}/docker.sock"

    def containers(self) -> list[Any]:
        """Every container, running or not, as the Docker API describes it."""
        with contextlib.closing(docker.DockerClient(base_url=self.host)) as client:
            return [container.attrs for container in client.containers.list(all=True)]

    def remove_containers(self) -> None:
        if names := [container["Id"] for container in self.containers()]:
            self.must("rm", "--force", "--volumes", *names)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    DAEMON, "--data-root", str(self.data), "--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid"),
                    "--host", self.host, "--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
                ],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        (CACHE / "docker.pid").write_text(str(self._process.pid))
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.docker("version").returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"dockerd did not start: {(self.folder / 'log').read_text()[-3000:]}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(300)

    def kill(self) -> None:
        """Kill the daemon with SIGKILL. Its containers continue."""
        self.stop(signal.SIGKILL)
        (self.folder / "pid").unlink(missing_ok=True)

    def docker(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Debian's client. The caller checks the exit code."""
        environment = {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1"}
        return subprocess.run([CLIENT, *arguments], env=environment, capture_output=True, text=True, timeout=2400, **options)

    def must(self, *arguments: str, **options: Any) -> str:
        done = self.docker(*arguments, **options)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout

    def build(self, target: str, tag: str, *options: str, context: Path = REPOSITORY, **arguments: str) -> str:
        """Build one target of Dockerfile.train on the base image. Returns the name of the image."""
        given = {"BASE_IMAGE": self.base(), "CUDA": "no", **arguments}
        if certificates := os.environ.get("SSL_CERT_FILE"):
            options = (*options, "--secret", f"id=ca,src={certificates}")
        pairs = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
        self.must(
            "build", "--network=host", "--target", target, "--tag", tag, "--file", str(context / "Dockerfile.train"),
            *pairs, *options, str(context),
        )  # fmt: skip
        return tag

    def base(self) -> str:
        """The name of the base image. It is imported if the data folder does not have it."""
        if self.docker("image", "inspect", BASE).returncode != 0:
            self.must(
                "import", "--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", str(base_archive()), BASE
            )
        return BASE


def usable() -> bool:
    """Whether this machine has the programs of an engine, and this user is root."""
    return os.geteuid() == 0 and all(Path(program).exists() for program in PROGRAMS)


def base_archive() -> Path:
    """Debian with Python as one archive, made once. It replaces the slim Python image, because no registry is reachable."""
    archive = CACHE / f"{BASE.replace(':', '-')}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            root, unfinished = Path(folder) / "root", Path(folder) / "archive"
            subprocess.run([BOOTSTRAP, "--variant=minbase", f"--include={PACKAGES}", SUITE, root], check=True, stdout=subprocess.DEVNULL)
            for leftover in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
                shutil.rmtree(root / leftover)
                (root / leftover).mkdir()
            subprocess.run(["tar", "--create", "--numeric-owner", "--file", unfinished, "--directory", root, "."], check=True)
            unfinished.rename(archive)
    return archive


@contextlib.contextmanager
def running() -> Iterator[Engine]:
    """An engine for the block. One engine at a time runs on this machine. It has no container of an earlier one."""
    data = CACHE / "docker"
    data.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock, tempfile.TemporaryDirectory(prefix="gregory-docker-") as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _end_leftover(CACHE / "docker.pid")
        engine = Engine(folder=Path(folder), data=data)
        try:
            engine.start()
            engine.remove_containers()
            yield engine
            engine.remove_containers()
            # Every change of the project leaves images. Layers of dependencies and downloaded wheels stay.
            engine.must("image", "prune", "--force")
            engine.must("builder", "prune", "--force", "--keep-storage", "12gb")
        finally:
            engine.stop()
            _unmount(Path(folder))


def _unmount(folder: Path) -> None:
    """Unmount the network namespace that the daemon leaves."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        place = line.split()[1]
        if Path(place).is_relative_to(folder):
            subprocess.run(["umount", place], check=True)


def _end_leftover(pid_file: Path) -> None:
    """End the daemon of a killed test session, which holds the data folder."""
    with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
        process = psutil.Process(int(pid_file.read_text()))
        if process.name() == "dockerd":
            process.terminate()
            process.wait(300)
