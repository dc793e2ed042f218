"""Who reaches whom: real connections from pods of a release, compared with the table of docs/kubernetes.md.

No packet leaves the machine. Another host and the metadata server of a cloud are processes in a network namespace of the tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chart.release import Release
from tests.docs import markdown
from tests.kubernetes.production import USER, Row
from tools.chaos.networks import Network
from tools.chart.helm import RELEASE
from tools.cluster import network, run_image
from tools.cluster.binaries import IP
from tools.cluster.network import FIRST_FREE, HOST, METADATA, METADATA_GATEWAY, SERVICE, SERVICES
from tools.ports import free_port

DOCUMENT, HEADING = "docs/kubernetes.md", "| from | to |"
# Ports of the pods that only listen, of DNS behind its Service, and of the kubelet.
LISTENER, DNS_TARGET, KUBELET = 8080, 5353, 10250
DNS_SERVICE = str(SERVICES[10])
PART = "gregory.test/part"

LISTEN = """
import socket, sys, time
kept = [socket.create_server((host, int(port))) for host, _, port in (where.rpartition(":") for where in sys.argv[1:])]
print("listens", flush=True)
time.sleep(600)
"""
# Prints for each destination whether it accepts a connection, or for UDP whether it answers.
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
QUERY = b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1a\\0\\0\\1\\0\\1"
def reaches(destination):
    protocol, host, port = destination
    with socket.socket(type=socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect((host, port))
            if protocol == "udp":
                connection.send(QUERY)
                connection.recv(512)
        except OSError:
            return False
    return True
with ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(reaches, json.loads(sys.argv[1])))))
"""
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "runAsUser": USER,
              "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
Destination = tuple[str, str, int]


def settings(database: int) -> dict[str, dict[str, Any]]:
    """The column of each value of networkPolicy. database: its port."""

    def only(address: object) -> list[dict[str, Any]]:
        return [{"ipBlock": {"cidr": f"{address}/32"}}]

    def part(name: str) -> list[dict[str, Any]]:
        return [{"namespaceSelector": {"matchLabels": {PART: name}}}]

    named = {
        "enabled": True,
        "dns": {"to": only(HOST.ip), "ports": [53, DNS_TARGET]},
        "database": {"to": only(HOST.ip), "port": database},
        # Policies see the address behind the Service.
        "apiServer": {"to": only("127.0.0.1")},
        "pagesFrom": part("proxy"),
        "metricsFrom": part("monitoring"),
    }
    return {"off": {"enabled": False}, "default": {"enabled": True}, "named": named}


def documented() -> dict[str, dict[tuple[str, str], bool]]:
    """The table of the document: by column, whether the first reaches the second."""
    lines = markdown.read(DOCUMENT).partition(HEADING)[2].partition("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {
        name: {(row[0], row[1]): {"yes": True, "no": False}[row[column]] for row in rows}
        for column, name in enumerate(settings(0), start=2)
    }


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """sources: by name, the arguments of `kubectl exec` that choose a pod. destinations: by name."""

    release: Release
    sources: dict[str, list[str]]
    destinations: dict[str, Destination]

    def of(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], bool]:
        """Whether the first of each pair reaches the second now."""
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda source: self._from(source, [to for one, to in pairs if one == source]), self.sources)
        return {pair: reached for of_source in found for pair, reached in of_source.items()}

    def _from(self, source: str, names: list[str]) -> dict[tuple[str, str], bool]:
        wanted = json.dumps([self.destinations[name] for name in names])
        said = self.release.cluster.must("exec", *self.sources[source], "--", "python3", "-c", PROBE, wanted)
        return {(source, name): reached for name, reached in zip(names, json.loads(said), strict=True)}


@contextmanager
def measuring(release: Release, run: Row) -> Iterator[Measurement]:
    """Pods and servers for the block. run: a run at work."""
    cluster, here = release.cluster, release.namespace
    namespaces = {"neighbour": here, "proxy": f"{here}-proxy", "monitoring": f"{here}-monitoring"}
    with ExitStack() as stack:
        for part, name in namespaces.items():
            if name != here:
                cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {PART: part}}})
                stack.callback(cluster.must, "delete", "namespace", name, "--wait=false")
                cluster.until(lambda name=name: cluster.kubectl("get", "serviceaccount", "default", "--namespace", name).returncode == 0,
                              what="its service account")  # fmt: skip
        cluster.apply(*(_pod(part, name) for part, name in namespaces.items()))
        stack.callback(cluster.must, "delete", "pod", "neighbour", "--namespace", here, "--wait=false")
        for part, name in namespaces.items():
            cluster.must("wait", f"pod/{part}", "--for=condition=Ready", "--timeout=120s", "--namespace", name)
        addresses = {part: _address(cluster.get("pod", part, "--namespace", name)) for part, name in namespaces.items()}
        (pod,) = release.production.pods_of(run["run_id"])
        in_run = [pod["metadata"]["name"], "--namespace", here]
        database, other = release.production.server.port, free_port()
        stack.enter_context(_listening([str(cluster.programs / "kubectl"), "exec", *in_run, "--", "python3"], f"0.0.0.0:{LISTENER}",
                                       KUBECONFIG=str(cluster.kubeconfig)))  # fmt: skip
        stack.enter_context(_listening([sys.executable], f"{HOST.ip}:{other}", f"{HOST.ip}:53", f"{HOST.ip}:{DNS_TARGET}"))
        outside = Network(number=int(METADATA_GATEWAY) - int(FIRST_FREE))
        outside.create()
        stack.callback(outside.remove)
        subprocess.run(outside.command([IP, "address", "add", f"{METADATA}/32", "dev", "lo"]), check=True)
        elsewhere = [f"0.0.0.0:{port}" for port in (80, 443, 53, database)]
        stack.enter_context(_listening(outside.command([sys.executable]), *elsewhere))
        stack.enter_context(network.service(DNS_SERVICE, 53, to=(str(HOST.ip), DNS_TARGET)))
        component = "app.kubernetes.io/component="
        (reconciler, pages) = (
            _address(cluster.get("pods", "--namespace", here, "--selector", component + name)["items"][0])
            for name in ("reconciler", "pages")
        )
        service = cluster.get("service", f"{RELEASE}-pages", "--namespace", here)["spec"]["clusterIP"]
        host, beyond = str(HOST.ip), str(METADATA_GATEWAY)
        yield Measurement(
            release=release,
            sources={
                "a run": in_run,
                "the reconciler": [f"deployment/{RELEASE}-reconciler", "--namespace", here],
                "a pod of its namespace": ["neighbour", "--namespace", here],
                "the proxy": ["proxy", "--namespace", namespaces["proxy"]],
                "Prometheus": ["monitoring", "--namespace", namespaces["monitoring"]],
            },
            destinations={
                "the database": ("tcp", host, database),
                "another port of its host": ("tcp", host, other),
                "DNS over UDP": ("udp", host, 53),
                "DNS over TCP": ("tcp", host, 53),
                "DNS whose Service redirects to port 5353": ("tcp", DNS_SERVICE, 53),
                "the API server": ("tcp", str(SERVICE), 443),
                "the kubelet": ("tcp", host, KUBELET),
                "the metadata server of a cloud": ("tcp", str(METADATA), 80),
                "the pages, by their Service": ("tcp", service, 80),
                "the pages": ("tcp", pages, 8000),
                "metrics of the pages": ("tcp", pages, 9465),
                "metrics of the reconciler": ("tcp", reconciler, 9464),
                "a pod of its namespace": ("tcp", addresses["neighbour"], LISTENER),
                "a pod of another namespace": ("tcp", addresses["proxy"], LISTENER),
                "a run": ("tcp", _address(pod), LISTENER),
                "another host, port of the database": ("tcp", beyond, database),
                "another host, port 53": ("tcp", beyond, 53),
                "another host, port 443": ("tcp", beyond, 443),
                "another host, port 80": ("tcp", beyond, 80),
            },
        )


def _pod(name: str, namespace: str) -> dict[str, Any]:
    listener = {
        "name": "listener", "image": run_image.SUBMIT, "imagePullPolicy": "Never", "securityContext": RESTRICTED,
        "command": ["python3", "-c", LISTEN, f"0.0.0.0:{LISTENER}"],
    }  # fmt: skip
    spec = {"containers": [listener], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _address(pod: dict[str, Any]) -> str:
    return str(pod["status"]["podIP"])


@contextmanager
def _listening(python: list[str], *where: str, **variables: str) -> Iterator[None]:
    """A process that accepts connections there, for the block. python: the command of its interpreter."""
    environment = {**os.environ, **variables}
    with subprocess.Popen([*python, "-c", LISTEN, *where], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
            yield
        finally:
            process.kill()
