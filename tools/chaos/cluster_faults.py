"""Disturbances of the cluster: API server, webhooks, and the node with its runtime."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.schedule import Target
from tools.chaos.webhook import NAME, Webhook
from tools.cluster import cgroups
from tools.cluster.cluster import NODE, Cluster

API_SERVER, KUBELET, CONTAINERD = "kube-apiserver", "kubelet", "containerd"
# A disturbance waits so long for the first request that it can disturb, and for an answer of the API server.
FIRST_REQUEST_SECONDS, ANSWER_SECONDS = 25.0, 300.0


@contextmanager
def daemon_killed(cluster: Cluster, name: str) -> Iterator[None]:
    cluster.kill(name)
    try:
        yield
    finally:
        _start(cluster, name)


@contextmanager
def daemon_stopped(cluster: Cluster, name: str) -> Iterator[None]:
    """The daemon gets SIGSTOP: connections stay open, and no request is answered."""
    cluster.pause(name)
    try:
        yield
    finally:
        cluster.resume(name)


@contextmanager
def webhook(env: ChaosEnv, server: Webhook, target: Target, stop: threading.Event) -> Iterator[bool]:
    """The API server asks the webhook before it creates a Job. Yields whether it asked."""
    server.begin(target)
    configuration = json.dumps(server.configuration(target, env.cluster_namespace.namespace))
    answered(env.cluster, "apply", "-f", "-", input=configuration)
    try:
        deadline = time.monotonic() + FIRST_REQUEST_SECONDS
        while server.requests == 0 and time.monotonic() < deadline and not stop.wait(0.2):
            pass
        yield server.requests > 0
    finally:
        answered(env.cluster, "delete", "validatingwebhookconfiguration", NAME, "--ignore-not-found")
        server.end()


@contextmanager
def node_deleted(cluster: Cluster) -> Iterator[None]:
    """The node object is deleted while the containers live. The kubelet makes it again."""
    cluster.kill(KUBELET)
    try:
        answered(cluster, "delete", "node", NODE, "--ignore-not-found", "--wait=false")
        yield
    finally:
        _start(cluster, KUBELET)


@contextmanager
def node_without_power(cluster: Cluster) -> Iterator[None]:
    """The kubelet, the runtime and every container end at once. Afterwards the node comes back."""
    cluster.kill(KUBELET)
    cluster.kill(CONTAINERD)
    for process in psutil.process_iter(["cmdline"]):
        if f"{cluster.folder}/containerd.sock" in (process.info["cmdline"] or []) and process.is_running():
            process.kill()
    cgroups.kill()
    try:
        yield
    finally:
        _start(cluster, CONTAINERD)
        _start(cluster, KUBELET)


def _start(cluster: Cluster, name: str) -> None:
    """A loaded machine may need a second start."""

    def started() -> bool:
        try:
            cluster.start(name)
        except RuntimeError:
            cluster.kill(name)
            return False
        return True

    _until(started, what=f"the start of {name}")


def answered(cluster: Cluster, *arguments: str, input: str | None = None, seconds: float = ANSWER_SECONDS) -> None:
    """Repeat a kubectl command until it succeeds."""
    _until(lambda: cluster.kubectl(*arguments, timeout=20, input=input).returncode == 0, what=f"kubectl {arguments[0]}", seconds=seconds)


def _until(done: Callable[[], bool], *, what: str, seconds: float = ANSWER_SECONDS) -> None:
    Cluster.until(done, what=what, seconds=seconds)
