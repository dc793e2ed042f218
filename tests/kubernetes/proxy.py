"""A proxy on loopback before the API server. A test can answer requests itself and drop responses."""

import http.client
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools.cluster.namespace import ClusterNamespace
from tools.cluster.network import PORT

# Headers of the connection, not of the message.
_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}


@dataclass
class Proxy:
    """One proxy.

    drop: whether to lose the response after the API server has executed the request.
    answer: status and headers of the proxy's own response.
    """

    folder: Path
    drop: Callable[[str, str], bool] = lambda method, path: False
    answer: Callable[[str, str], tuple[int, dict[str, str]] | None] = lambda method, path: None
    seen: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def forward(self, handler: BaseHTTPRequestHandler, method: str) -> None:
        self.seen[method] += 1
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if (ours := self.answer(method, handler.path)) is not None:
            _reply(handler, ours[0], list(ours[1].items()), b'{"kind": "Status", "message": "from the proxy"}')
            return
        connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=self._identity(), timeout=120)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP}
        connection.request(method, handler.path, body or None, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if self.drop(method, handler.path):
            handler.close_connection = True
            return
        _reply(handler, response.status, response.getheaders(), content)

    def _identity(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=f"{self.folder}/ca.crt")
        context.load_cert_chain(f"{self.folder}/admin.crt", f"{self.folder}/admin.key")
        return context


def _reply(handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
    handler.send_response(status)
    for name, value in headers:
        if name.lower() not in _HOP and name.lower() not in ("date", "server"):
            handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def running(pki: Path) -> Iterator[Proxy]:
    """A proxy for the block. Every request has the rights of the administrator."""
    proxy = Proxy(folder=pki)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    for method in ("GET", "POST", "DELETE", "PATCH"):
        setattr(Handler, f"do_{method}", lambda self, method=method: proxy.forward(self, method))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


def through(proxy: Proxy, cluster_namespace: ClusterNamespace, cluster_file: str) -> dict[str, str]:
    """Variables for a command that reaches the cluster through the proxy."""
    file = cluster_namespace.folder / "proxy.kubeconfig"
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    clusters, users = [{"name": "proxy", "cluster": {"server": proxy.url}}], [{"name": "nobody", "user": {}}]
    file.write_text(json.dumps({"clusters": clusters, "contexts": [context], "users": users, "current-context": "proxy"}))
    return {"KUBECONFIG": str(file), "GREGORY_CLUSTER_CONFIG": cluster_file}
