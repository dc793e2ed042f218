"""A validating webhook for new Jobs of one namespace, which answers late, fails or never answers."""

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tools.chaos.schedule import Target
from tools.cluster.binaries import OPENSSL

NAME = "gregory-chaos"
# Seconds after which the API server gives up. A request of the product gives up before the longer one.
TIMEOUTS = {Target.WEBHOOK_LATE: 10, Target.WEBHOOK_FAILS: 10, Target.WEBHOOK_SILENT: 30}
LATE_SECONDS = 4.0


class Webhook:
    """The server. `requests` counts its requests since the last `begin`."""

    def __init__(self, folder: Path) -> None:
        self.requests = 0
        self._folder = folder
        self._target = Target.WEBHOOK_LATE
        self._over = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        subprocess.run(
            [
                OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "30",
                "-keyout", "webhook.key", "-out", "webhook.crt", "-subj", "/CN=webhook", "-addext", "subjectAltName=IP:127.0.0.1",
            ],
            cwd=self._folder, check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "webhook.crt", self._folder / "webhook.key")
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._review))
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._server = server

    def stop(self) -> None:
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def begin(self, target: Target) -> None:
        self._target, self.requests = target, 0
        self._over.clear()

    def end(self) -> None:
        """Release the requests that wait."""
        self._over.set()

    def configuration(self, target: Target, namespace: str) -> dict[str, Any]:
        """The object that makes the API server ask."""
        assert self._server is not None
        authority = base64.b64encode((self._folder / "webhook.crt").read_bytes()).decode()
        jobs = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": NAME},
            "webhooks": [
                {
                    "name": "jobs.chaos.example.org",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Fail",
                    "timeoutSeconds": TIMEOUTS[target],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "rules": [jobs],
                    "clientConfig": {"url": f"https://127.0.0.1:{self._server.server_port}/", "caBundle": authority},
                }
            ],
        }

    def _review(self, uid: str) -> dict[str, Any] | None:
        """The answer. None: an error of the server."""
        self.requests += 1
        match self._target:
            case Target.WEBHOOK_LATE:
                self._over.wait(LATE_SECONDS)
            case Target.WEBHOOK_SILENT:
                self._over.wait()
            case _:
                return None
        return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": True}}


def _handler(review: Callable[[str], dict[str, Any] | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = review(request["request"]["uid"])
            body = json.dumps(answer).encode() if answer is not None else b"the webhook has an error"
            try:
                self.send_response(200 if answer is not None else 500)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                # The API server has given up.
                return

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    return Handler
