"""The cluster itself, with real pods. Other tests rely on these properties."""

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tools import postgresql
from tools.cluster import binaries, network
from tools.cluster.binaries import IP
from tools.cluster.cluster import GPU, NODE, Cluster

pytestmark = pytest.mark.slow

# PostgreSQL answers a start-up message with R if its rules permit this client, else with E.
STARTUP = """
import socket, struct
said = struct.pack("!i", 196608) + b"user\\0gregory\\0database\\0postgres\\0\\0"
with socket.create_connection(("{host}", {port}), 60) as connection:
    connection.sendall(struct.pack("!i", len(said) + 4) + said)
    print(connection.recv(1).decode())
"""
# The time-out is shorter than the time until TCP sends again.
CALLS = """
import socket, time
while True:
    with socket.socket() as connection:
        connection.settimeout(0.5)
        print(connection.connect_ex({address}) == 0, flush=True)
    time.sleep(0.1)
"""
CLOCK = "import time\nwhile True: print(time.time(), flush=True); time.sleep(0.2)"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
ASK_THE_API_SERVER = f"""
import ssl, urllib.request
context = ssl.create_default_context(cafile="{TOKEN}/ca.crt")
request = urllib.request.Request("https://10.96.0.1/api", headers={{"Authorization": "Bearer " + open("{TOKEN}/token").read()}})
print(urllib.request.urlopen(request, timeout=60, context=context).status)
"""


class Pods:
    """Pods of one namespace that run Python code."""

    def __init__(self, cluster: Cluster, namespace: str, image: str) -> None:
        self.cluster, self.namespace, self.image = cluster, namespace, image

    def start(self, name: str, code: str, *, limits: dict[str, str] | None = None, **spec: Any) -> None:
        container = {"name": "main", "image": self.image, "command": ["python3", "-c", code], "resources": {"limits": limits or {}}}
        always = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**always, **spec}})

    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.get("pod", name, "--namespace", self.namespace)

    def wait(self, name: str, *phases: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            pod = self.get(name)
            return pod if pod["status"]["phase"] in phases else None

        return self.cluster.until(there, what=f"pod {name} to be {' or '.join(phases)}")

    def logs(self, name: str) -> str:
        return self.cluster.must("logs", name, "--namespace", self.namespace)

    def output(self, name: str, code: str, **options: Any) -> str:
        """The output after its end."""
        self.start(name, code, **options)
        self.wait(name, "Succeeded", "Failed")
        return self.logs(name)


@pytest.fixture
def pods(cluster: Cluster, namespace: str, base_image: str) -> Pods:
    return Pods(cluster, namespace, base_image)


def container(pod: dict[str, Any]) -> dict[str, Any]:
    return pod["status"]["containerStatuses"][0]


def test_the_node_is_ready(cluster: Cluster):
    nodes = cluster.get("nodes")["items"]

    assert [(node["metadata"]["name"], node["status"]["nodeInfo"]["kubeletVersion"]) for node in nodes] == [(NODE, binaries.version())]
    assert cluster.is_ready()


def test_a_pod_of_an_imported_image_runs_and_its_logs_are_read(pods: Pods):
    assert pods.output("hello", "print('hello from a pod')") == "hello from a pod\n"


def test_an_image_is_found_by_its_digest(cluster: Cluster, namespace: str, base_image_digest: str):
    assert base_image_digest.startswith("gregory.test/base@sha256:")

    assert Pods(cluster, namespace, base_image_digest).output("hello", "print('hello')") == "hello\n"


def test_a_pod_reaches_a_database_of_this_machine(pods: Pods, cluster_postgresql: postgresql.Server):
    assert pods.output("client", STARTUP.format(host=pods.cluster.host, port=cluster_postgresql.port)) == "R\n"


def test_connection_survives_changes_of_the_bridge(pods: Pods, cluster_postgresql: postgresql.Server):
    """A bridge without its own address takes the lowest of its ports. Pods would continue to send to the old one."""
    address = (pods.cluster.host, cluster_postgresql.port)
    pods.start("caller", CALLS.format(address=address))
    pods.wait("caller", "Running")
    pods.cluster.until(lambda: "True" in pods.logs("caller"), what="the first connection")
    link = ["gregory-low", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "gregory-high"]
    subprocess.run([IP, "link", "add", *link], check=True)
    try:
        subprocess.run([IP, "link", "set", link[0], "master", network.BRIDGE, "up"], check=True)
        time.sleep(1)
    finally:
        subprocess.run([IP, "link", "delete", link[0]], check=True)
    time.sleep(1)

    assert set(pods.logs("caller").split()) == {"True"}


def test_a_pod_reaches_the_api_server_with_its_token(pods: Pods):
    assert pods.output("client", ASK_THE_API_SERVER) == "200\n"


def test_a_pod_reaches_nothing_beyond_this_machine(pods: Pods):
    # An unused address. Not even a refusal may come back.
    code = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError as error: print(type(error).__name__)"

    assert pods.output("lost", code) == "TimeoutError\n"


def test_exceeded_memory_limit_is_an_oom_kill(pods: Pods):
    pods.start("greedy", "bytearray(200_000_000)", limits={"memory": "64Mi"})

    ended = container(pods.wait("greedy", "Failed"))["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_gpus_are_assigned_until_none_is_left(pods: Pods):
    assert pods.cluster.allocatable(GPU) == 2

    names = "import os; print(os.environ['NVIDIA_VISIBLE_DEVICES'])"
    pods.start("three", names, limits={GPU: "3"})
    assert pods.output("one", names, limits={GPU: "1"}) in ("gpu-0\n", "gpu-1\n")
    (condition,) = pods.wait("three", "Pending")["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert condition["message"].startswith("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")


def test_paused_api_server_does_not_disturb_pods(pods: Pods):
    cluster = pods.cluster
    pods.start("clock", CLOCK)
    before = pods.wait("clock", "Running")

    cluster.pause("kube-apiserver")
    paused = time.time()
    assert cluster.kubectl("get", "nodes", timeout=3).returncode == 124
    resumed = time.time()
    cluster.resume("kube-apiserver")

    after = pods.wait("clock", "Running")
    assert (container(after)["containerID"], container(after)["restartCount"]) == (container(before)["containerID"], 0)
    # A pod without processor time prints rarely, and a stopped one not at all.
    assert [line for line in pods.logs("clock").splitlines() if paused < float(line) < resumed]


@pytest.mark.parametrize("names", [("etcd", "kube-apiserver"), ("containerd", "kubelet")], ids="-".join)
def test_killed_daemons_return_to_the_same_pods(pods: Pods, names: tuple[str, str]):
    cluster = pods.cluster
    pods.start("clock", CLOCK)
    before = container(pods.wait("clock", "Running"))["containerID"]

    for name in names:
        cluster.kill(name)
    cluster.heal()

    assert pods.output("next", "print('on')", limits={GPU: "1"}) == "on\n"
    after = pods.wait("clock", "Running")
    assert (container(after)["containerID"], container(after)["restartCount"]) == (before, 0)


@pytest.fixture
def peer(cluster: Cluster) -> Iterator[str]:
    cluster.add_peer("peer")
    yield "peer"
    cluster.remove_peer("peer")


def test_pods_of_a_lost_node_are_evicted_where_it_has_a_healthy_peer(pods: Pods, peer: str):
    cluster = pods.cluster
    unreachable = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    pods.start("clock", CLOCK, tolerations=[unreachable], terminationGracePeriodSeconds=1)
    pods.wait("clock", "Running")

    cluster.pause("kubelet")
    cluster.until(lambda: "deletionTimestamp" in pods.get("clock")["metadata"], what="the eviction")
    assert not cluster.is_ready()
    assert cluster.is_ready(peer)
    assert pods.get("clock")["status"]["phase"] == "Running"
    cluster.resume("kubelet")
    cluster.until(lambda: cluster.kubectl("get", "pod", "clock", "-n", pods.namespace).returncode, what="the pod to be gone")


def test_other_devices_are_offered_as_well(pods: Pods):
    pods.cluster.offer("amd.com/gpu", 1)

    assert pods.output("amd", "print('on')", limits={"amd.com/gpu": "1"}) == "on\n"
