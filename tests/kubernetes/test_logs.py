"""Logs of real pods: whatever happens to a stream, lines come once and in order, and the end is the run's, not the stream's."""

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
def briskly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_runner, "RECONNECT_SECONDS", 0.2)


def at_once() -> bool:
    return True


def followed(cluster_namespace: ClusterNamespace, code: str) -> Iterator[str]:
    spec = a_run()
    return cluster_namespace.runner().logs(spec, cluster_namespace.start(code, spec=spec), waiting=at_once)


def test_a_megabyte_in_one_line_and_what_is_no_text(cluster_namespace: ClusterNamespace):
    code = "import sys; w = sys.stdout.buffer.write; w(b'x' * 2**20 + b'\\n'); w(b'\\xff\\xfe\\n'); w('ü\\n'.encode()); w(b'end\\n')"

    lines = list(followed(cluster_namespace, code))

    assert [len(line) for line in lines[:1]] == [2**20]
    assert lines[1:] == ["\ufffd\ufffd", "ü", "end"]


def test_a_silent_stream_is_opened_anew_and_no_line_comes_twice(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubernetes_runner, "SILENCE_SECONDS", 0.5)

    assert list(followed(cluster_namespace, COUNTS.format(6, 1))) == [str(number) for number in range(6)]


def test_a_restart_of_the_api_server_is_outlived(cluster_namespace: ClusterNamespace):
    lines = followed(cluster_namespace, COUNTS.format(80, 0.1))
    assert next(lines) == "0"

    cluster_namespace.cluster.kill("kube-apiserver")
    threading.Timer(0.5, cluster_namespace.cluster.start, ["kube-apiserver"]).start()

    assert list(lines) == [str(number) for number in range(1, 80)]


def test_a_log_that_is_rotated_while_it_is_followed(cluster_namespace: ClusterNamespace):
    """C19: a container's log is cut at 10 MiB; what is followed goes on."""
    code = "import time\nfor n in range(3000):\n print(n, 'x' * 8000, flush=True)\n if n % 100 == 99: time.sleep(0.4)\nprint('end')"

    numbers = [line.partition(" ")[0] for line in followed(cluster_namespace, code)]

    assert numbers[-1] == "end"
    assert numbers[:-1] == sorted(set(numbers[:-1]), key=int)


def test_a_pod_that_is_deleted_while_it_is_followed_ends_the_log(cluster_namespace: ClusterNamespace):
    spec = a_run()
    handle = cluster_namespace.start(LINGERS.format(1), spec=spec)
    lines = cluster_namespace.runner().logs(spec, handle, waiting=at_once)
    assert next(lines) == "ready"

    cluster_namespace.kubectl("delete", "job", handle.name, "--wait=false")

    assert list(lines) == []
    assert cluster_namespace.see(handle).status is Status.TERMINATED


def test_without_an_answer_the_ledger_decides_how_long_to_wait(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gregory.launch.kubernetes.kube.CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("gregory.launch.kubernetes.kube.READ_SECONDS", 0.5)
    monkeypatch.setattr("gregory.launch.kubernetes.kube.TOTAL_SECONDS", 1.0)
    monkeypatch.setattr(kubernetes_runner, "SILENCE_SECONDS", 1.0)
    spec = a_run()
    runner, at_work = cluster_namespace.runner(), threading.Event()
    at_work.set()
    handle = cluster_namespace.start(COUNTS.format(1, 60), spec=spec)
    lines = runner.logs(spec, handle, waiting=at_work.is_set)
    assert next(lines) == "0"
    cluster_namespace.cluster.pause("kube-apiserver")

    threading.Timer(3, at_work.clear).start()
    began = time.monotonic()

    assert list(lines) == []
    assert 3 <= time.monotonic() - began < 20


def test_a_run_that_waits_is_followed_from_its_first_line(cluster_namespace: ClusterNamespace):
    spec = a_run()
    handle = cluster_namespace.start("print('one')", spec=spec, change=lambda job: job["spec"].update(suspend=True))
    lines = cluster_namespace.runner().logs(spec, handle, waiting=at_once)

    threading.Timer(
        1, cluster_namespace.kubectl, ["patch", "job", handle.name, "--type=merge", "-p", '{"spec": {"suspend": false}}']
    ).start()

    assert list(lines) == ["one"]
