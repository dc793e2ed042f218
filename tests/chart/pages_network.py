"""What a browser and a pod need to reach the operator pages, and the cluster of the tests lacks: DNS, and a proxy with TLS.

The proxy of an Ingress ends TLS and says so in a header.
"""

import http.client
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools.cluster import network, pki
from tools.cluster.cluster import Cluster
from tools.cluster.network import HOST

# Headers of the connection, not of the message.
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}
_A = b"\0\1"


class Forwarding(ThreadingHTTPServer):
    """Sends each request to another address, with further headers. The host stays that of the browser."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], *, to: tuple[str, int], headers: Mapping[str, str] | None = None) -> None:
        self.to, self.headers = to, dict(headers or {})
        super().__init__(address, _Forward)


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Forwarding

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        connection = http.client.HTTPConnection(*self.server.to, timeout=300)
        connection.request(self.command, self.path, body or None, kept | self.server.headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def reachable(cluster: Cluster, *, namespace: str, service: str, port: int, folder: Path) -> Iterator[None]:
    """In the block, pods reach the Service by its name, and browsers of this machine at https://localhost:port."""
    endpoint = cluster.until(lambda: _endpoint(cluster, namespace, service), what=f"an endpoint of {service}")
    folder.mkdir()
    pki.authority(folder, "ca", "/CN=test")
    pki.certificate(folder, "localhost", "/CN=localhost", "subjectAltName=DNS:localhost", issuer="ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "localhost.crt", folder / "localhost.key")
    address = cluster.get("service", service, "--namespace", namespace)["spec"]["clusterIP"]
    to_browsers = Forwarding(("127.0.0.1", port), to=endpoint, headers={"X-Forwarded-Proto": "https"})
    to_browsers.socket = context.wrap_socket(to_browsers.socket, server_side=True)
    with ExitStack() as stack:
        stack.enter_context(network.service(address, 80, to=endpoint))
        for server in (to_browsers, Names(service, address)):
            stack.enter_context(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield


def _endpoint(cluster: Cluster, namespace: str, service: str) -> tuple[str, int] | None:
    """Address and port of a ready pod of the Service."""
    slices = cluster.get("endpointslices", "--selector", f"kubernetes.io/service-name={service}", "--namespace", namespace)["items"]
    found = [
        (one["addresses"][0], part["ports"][0]["port"]) for part in slices for one in part["endpoints"] or [] if one["conditions"]["ready"]
    ]
    return found[0] if found else None


class Names(socketserver.UDPServer):
    """Answers the DNS queries of pods: the Service is at this address, and no other name exists."""

    def __init__(self, service: str, address: str) -> None:
        self.service, self.address = service, address
        super().__init__((str(HOST.ip), 53), _Query)


class _Query(socketserver.BaseRequestHandler):
    server: Names

    def handle(self) -> None:
        query, connection = self.request
        connection.sendto(_answer(query, self.server), self.client_address)


def _answer(query: bytes, names: Names) -> bytes:
    """The answer to one question about an address."""
    end = 12
    while query[end]:
        end += query[end] + 1
    known = query[13 : 13 + query[12]] == names.service.encode()
    records = known and query[end + 1 : end + 3] == _A
    flags = b"\x85\x80" if known else b"\x85\x83"
    header = query[:2] + flags + b"\0\1" + (b"\0\1" if records else b"\0\0") + bytes(4)
    record = b"\xc0\x0c" + _A + b"\0\1" + bytes([0, 0, 0, 5, 0, 4]) + ipaddress.IPv4Address(names.address).packed
    return header + query[12 : end + 5] + (record if records else b"")
