"""Logs of real pods: each line comes once and in order, and the log ends with the run, not with the stream."""

import threading
import time
from collections.abc import Iterator

import pytest

from gregory.launch.kubernetes import runner as kubernetes_runner
from gregory.launch.runner import Status
from tools.cluster.namespace import LINGERS, ClusterNamespace, a_run

pytestmark = pytest.mark.slow

COUNTS = "import time\nfor n in range({}):\n print(n, flush=True); time.sleep({})"


@pytest.fixture(autouse=True)
def short_reconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_runner, "RECONNECT_SECONDS", 0.2)


def at_once() -> bool:
    return True


def followed(cluster_namespace: ClusterNamespace, code: str) -> Iterator[str]:
    spec = a_run()
    return cluster_namespace.runner().logs(spec, cluster_namespace.start(code, spec=spec), waiting=at_once)


def test_line_of_a_megabyte_and_invalid_utf8(cluster_namespace: ClusterNamespace):
    code = "import sys; w = sys.stdout.buffer.write; w(b'x' * 2**20 + b'\\n'); w(b'\\xff\\xfe\\n'); w('ü\\n'.encode()); w(b'end\\n')"

    lines = list(followed(cluster_namespace, code))

    assert [len(line) for line in lines[:1]] == [2**20]
    assert lines[1:] == ["\ufffd\ufffd", "ü", "end"]


def test_silent_stream_is_opened_again_without_repeated_lines(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubernetes_runner, "SILENCE_SECONDS", 0.5)

    assert list(followed(cluster_namespace, COUNTS.format(6, 1))) == [str(number) for number in range(6)]


def test_log_continues_after_a_restart_of_the_api_server(cluster_namespace: ClusterNamespace):
    lines = followed(cluster_namespace, COUNTS.format(80, 0.1))
    assert next(lines) == "0"

    cluster_namespace.cluster.kill("kube-apiserver")
    threading.Timer(0.5, cluster_namespace.cluster.start, ["kube-apiserver"]).start()

    assert list(lines) == [str(number) for number in range(1, 80)]


def test_log_that_is_rotated_meanwhile(cluster_namespace: ClusterNamespace):
    """C19: the kubelet rotates the log at 10 MiB. The followed log continues."""
    code = "import time\nfor n in range(3000):\n print(n, 'x' * 8000, flush=True)\n if n % 100 == 99: time.sleep(0.4)\nprint('end')"

    numbers = [line.partition(" ")[0] for line in followed(cluster_namespace, code)]

    assert numbers[-1] == "end"
    assert numbers[:-1] == sorted(set(numbers[:-1]), key=int)


def test_deleted_pod_ends_the_log(cluster_namespace: ClusterNamespace):
    spec = a_run()
    handle = cluster_namespace.start(LINGERS.format(1), spec=spec)
    lines = cluster_namespace.runner().logs(spec, handle, waiting=at_once)
    assert next(lines) == "ready"

    cluster_namespace.kubectl("delete", "job", handle.name, "--wait=false")

    assert list(lines) == []
    assert cluster_namespace.see(handle).status is Status.TERMINATED


def test_without_the_api_server_the_run_store_decides_when_to_stop(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubernetes_runner, "SILENCE_SECONDS", 1.0)
    spec = a_run()
    runner, at_work = cluster_namespace.runner(), threading.Event()
    at_work.set()
    handle = cluster_namespace.start(COUNTS.format(1, 600), spec=spec)
    lines = runner.logs(spec, handle, waiting=at_work.is_set)
    assert next(lines) == "0"
    cluster_namespace.cluster.pause("kube-apiserver")
    # Only the paused server is asked from now on.
    monkeypatch.setattr("gregory.launch.kubernetes.kube.CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("gregory.launch.kubernetes.kube.READ_SECONDS", 0.5)
    monkeypatch.setattr("gregory.launch.kubernetes.kube.TOTAL_SECONDS", 1.0)

    began = time.monotonic()
    threading.Timer(3, at_work.clear).start()

    assert list(lines) == []
    assert 3 <= time.monotonic() - began < 120


def test_log_of_a_waiting_run_begins_with_its_first_line(cluster_namespace: ClusterNamespace):
    spec = a_run()
    handle = cluster_namespace.start("print('one')", spec=spec, change=lambda job: job["spec"].update(suspend=True))
    lines = cluster_namespace.runner().logs(spec, handle, waiting=at_once)

    threading.Timer(
        1, cluster_namespace.kubectl, ["patch", "job", handle.name, "--type=merge", "-p", '{"spec": {"suspend": false}}']
    ).start()

    assert list(lines) == ["one"]
