"""A real Kubernetes of one node: its own folder, network and control group. It is ended by process id.

Control plane, kubelet, containerd and runc are the real programs. Only its GPUs are imaginary.
"""

import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tools.cluster import binaries, cgroups, control_plane, devices, gpu, images, network, node, pki, record, second_node
from tools.cluster.daemon import Daemon
from tools.docker_engine import CACHE

NODE = node.NAME
GPU = "nvidia.com/gpu"
# Output of ctr for an imported image.
IMPORTED = re.compile(r"^unpacking (\S+) \((sha256:\w+)\)", re.MULTILINE)


@dataclass(eq=False, kw_only=True)
class Cluster:
    """One cluster.

    `kubectl`, `apply` and `get` are for its operator. `pause`, `resume`, `kill` and `start` take the name of a daemon.
    """

    programs: Path
    by_hand: bool = False
    folder: Path = field(init=False)
    daemons: dict[str, Daemon] = field(init=False, default_factory=dict)
    _offered: dict[str, int] = field(init=False, default_factory=dict)
    _disturbed: bool = field(init=False, default=False)
    _noting: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        # The path of a socket has 107 characters at most.
        self.folder = Path(tempfile.mkdtemp(prefix="gregory-cluster-"))
        self._record = record.begin(self.folder, by_hand=self.by_hand)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig. Those of other identities are in the same folder."""
        return self.folder / "pki" / "admin.kubeconfig"

    @property
    def host(self) -> str:
        """The address at which pods reach a server of this machine."""
        return str(network.HOST.ip)

    def up(self, *, labels: dict[str, str] | None = None, gpus: int = 2) -> None:
        """Start everything and wait for a Ready node that offers its GPUs."""
        network.create(self.folder / "cni")
        cgroups.create()
        pki.create(self.folder / "pki", node=NODE)
        on_node = node.daemons(self.folder, self.programs, name=NODE, labels=labels or {})
        for daemon in (*control_plane.daemons(self.folder, self.programs), *on_node):
            self.daemons[daemon.name] = daemon
        self.daemons["containerd"].ready = lambda: node.runtime_answers(self.folder)
        self.daemons["kube-apiserver"].ready = lambda: self.kubectl("get", "--raw", "/readyz", timeout=30).returncode == 0
        self._launch("etcd")
        self._launch("kube-apiserver")
        self.start("containerd")
        pause = self.folder / "pause.tar"
        images.of_program(pause, name=node.PAUSE, program=self.programs / "pause")
        self.import_image(pause)
        self.daemons["kube-apiserver"].wait()
        for name in ("kubelet", "kube-controller-manager", "kube-scheduler"):
            self.start(name)
        if gpus:
            self.offer(GPU, gpus)
        self._wait_for_node()
        self.until(lambda: self.kubectl("get", "serviceaccount", "default").returncode == 0, what="the default service account")

    def down(self) -> None:
        """End the cluster and restore the machine."""
        record.give_back(self._record)
        for daemon in self.daemons.values():
            daemon.kill()

    def add(self, daemon: Daemon) -> None:
        """Start another daemon and wait until it is ready. It ends with the cluster."""
        self.daemons[daemon.name] = daemon
        self.start(daemon.name)

    def start(self, name: str) -> None:
        """Start a daemon, also after its end, and wait until it is ready."""
        self._launch(name)
        self.daemons[name].wait()

    def pause(self, name: str) -> None:
        self._disturbed = True
        self.daemons[name].pause()

    def resume(self, name: str) -> None:
        self.daemons[name].resume()

    def kill(self, name: str) -> None:
        self._disturbed = True
        self.daemons[name].kill()

    def heal(self) -> None:
        """Resume paused daemons, start killed ones, and wait for the node. Nothing to do if no daemon was disturbed."""
        if not self._disturbed and all(daemon.alive() for daemon in self.daemons.values()):
            return
        for name, daemon in self.daemons.items():
            if daemon.alive():
                daemon.resume()
            else:
                self.start(name)
        for daemon in self.daemons.values():
            daemon.wait()
        self._wait_for_node()
        self._disturbed = False

    def is_ready(self, name: str = NODE) -> bool:
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return self.kubectl("get", "node", name, "--output", ready, timeout=60).stdout == "True"

    def offer(self, resource: str, count: int) -> None:
        """Offer imaginary devices through a device plugin. The daemon has the name of the resource."""
        argv = [sys.executable, "-m", "tools.cluster.gpu", resource, str(count)]
        plugin = Daemon(name=resource, argv=argv, log=self.folder / f"{resource.replace('/', '-')}.log")
        offered = gpu.DevicePlugin(resource=resource, count=count).offered
        # A pod that requests a device before the kubelet knows it fails for ever.
        plugin.ready = lambda: _younger(offered, plugin.started) and _younger(offered, self.daemons["kubelet"].started)
        self.daemons[resource] = plugin
        self._offered[resource] = count
        self.start(resource)

    def add_peer(self, name: str = "peer") -> None:
        """Add a second node without a kubelet. See tools/cluster/peer.py."""
        argv = [sys.executable, "-m", "tools.cluster.peer", str(self.kubeconfig), name]
        self.add(Daemon(name=name, argv=argv, log=self.folder / f"{name}.log", ready=lambda: self.is_ready(name)))

    def remove_peer(self, name: str = "peer") -> None:
        self.daemons.pop(name).kill()
        self.must("delete", "node", name)

    def add_node(self) -> None:
        """Add a second node with its own kubelet, which has no image yet. See tools/cluster/second_node.py."""
        self.add(second_node.holder(self.folder))
        for daemon in second_node.daemons(self.folder, self.programs, self.daemons[second_node.NAME].pid):
            self.add(daemon)
        self.copy_image(node.PAUSE)
        self.until(lambda: self.is_ready(second_node.NAME), what=f"{second_node.NAME} to be Ready")

    def remove_node(self) -> None:
        """Remove the second node with its pods."""
        holder = self.daemons.pop(second_node.NAME)
        for name in [name for name in self.daemons if name.startswith(second_node.NAME)]:
            self.daemons.pop(name).kill()
        record.end_pods(second_node.folder_in(self.folder))
        holder.kill()
        second_node.remove_link()
        self.must("delete", "node", second_node.NAME)

    def copy_image(self, name: str) -> None:
        """Give the second node an image of the first."""
        archive = self.folder / "copied.tar"
        self._must_ctr("images", "export", str(archive), name)
        self._must_ctr("images", "import", str(archive), node=second_node.folder_in(self.folder))
        archive.unlink()

    def add_driver(self) -> None:
        """Add a driver of imaginary devices, if this Kubernetes has dynamic allocation. The daemon has the name of the driver."""
        if not devices.are_allocated():
            return
        argv = [sys.executable, "-m", "tools.cluster.devices", devices.DRIVER, str(self.folder / "kubelet")]
        driver = Daemon(name=devices.DRIVER, argv=argv, log=self.folder / f"{devices.DRIVER}.log")
        driver.ready = lambda: devices.REGISTERED in driver.log.read_text().splitlines()
        self.apply(*devices.objects())
        self.add(driver)

    def remove_driver(self) -> None:
        if devices.are_allocated():
            self.daemons.pop(devices.DRIVER).kill()
            self.delete(*devices.objects())

    def allocatable(self, resource: str) -> int:
        node = self.kubectl("get", "node", NODE, "--output=json", timeout=60)
        return int(json.loads(node.stdout)["status"].get("allocatable", {}).get(resource, 0)) if node.returncode == 0 else 0

    def import_image(self, archive: Path) -> list[str]:
        """Import an archive of `docker save`. Pods then use each image by name, without a pull. Returns the names with digests."""
        imported = IMPORTED.findall(self._must_ctr("images", "import", str(archive)))
        by_digest = [f"{name.rpartition(':')[0]}@{digest}" for name, digest in imported]
        for (name, _), reference in zip(imported, by_digest, strict=True):
            self._must_ctr("images", "tag", "--force", name, reference)
        return by_digest

    def kubectl(self, *arguments: str, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator. The exit code is 124 after `timeout` seconds."""
        # kubectl's cache must end with the cluster: the next one has the same address.
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.folder / "kubectl")}
        command = [str(self.programs / "kubectl"), *arguments]
        try:
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, **options)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"no answer within {timeout} s")

    def must(self, *arguments: str, **options: Any) -> str:
        done = self.kubectl(*arguments, **options)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.must("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def delete(self, *manifests: dict[str, Any]) -> None:
        self.must("delete", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.must("get", *arguments, "--output=json"))
        return found

    @staticmethod
    def until(condition: Any, *, what: str, seconds: float = 300) -> Any:
        """The first true value of `condition`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {seconds:g} s")

    def _wait_for_node(self) -> None:
        self.until(self.is_ready, what=f"{NODE} to be Ready")
        for resource, count in self._offered.items():
            self.until(lambda: self.allocatable(resource) == count, what=f"{count} {resource} on {NODE}")  # noqa: B023 - called at once

    def _launch(self, name: str) -> None:
        self.daemons[name].start()
        # Several threads may start daemons.
        with self._noting:
            self._record.note(name, self.daemons[name].pid)

    def _ctr(self, *arguments: str, node: Path | None = None) -> subprocess.CompletedProcess[str]:
        address = ["--address", f"{node or self.folder}/containerd.sock", "--namespace", "k8s.io"]
        return subprocess.run([binaries.CTR, *address, *arguments], capture_output=True, text=True, timeout=600)

    def _must_ctr(self, *arguments: str, node: Path | None = None) -> str:
        done = self._ctr(*arguments, node=node)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _younger(file: Path, moment: float) -> bool:
    return file.exists() and file.stat().st_mtime > moment


@contextlib.contextmanager
def the_only_one(*, wait: bool) -> Iterator[None]:
    """Hold the lock of this machine's only cluster. wait: wait for the lock, else raise RuntimeError."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".cluster.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError("a test session on this machine has its own cluster; wait for its end and repeat the command") from error
        yield


@contextlib.contextmanager
def running(*, labels: dict[str, str] | None = None, gpus: int = 2) -> Iterator[Cluster]:
    """A cluster for the block."""
    with the_only_one(wait=True):
        end_leftover()
        cluster = Cluster(programs=binaries.build())
        try:
            cluster.up(labels=labels, gpus=gpus)
            yield cluster
        finally:
            cluster.down()


def end_leftover() -> None:
    """Remove the remains of a killed test session. Raises RuntimeError if another cluster runs on this machine."""
    if (left := record.load()) is not None:
        if left.by_hand and left.alive():
            raise RuntimeError("a cluster that was started by hand is running on this machine; end it with: make cluster-down")
        record.give_back(left)
    running = [process for process in psutil.process_iter(["name", "status"]) if process.info["status"] != psutil.STATUS_ZOMBIE]
    if kubelets := [process.pid for process in running if process.info["name"] == "kubelet"]:
        raise RuntimeError(
            f"this machine is a node of another Kubernetes (kubelet: process {kubelets[0]}); the tests need one of their own"
        )
