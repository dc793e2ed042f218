"""A hub for tests: the paths of Hugging Face, with given models, a record of all requests, and errors on demand."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_INFO = re.compile(r"/api/models/(.+)/revision/([^/?]+)")
_FILE = re.compile(r"/(.+)/resolve/([^/]+)/(.+)")
_LARGE = (".bin", ".safetensors", ".h5", ".msgpack", ".onnx")


@dataclass
class Hub:
    """The content of the hub. models: repository -> revision -> file -> content. asked: method, path and Range of each request."""

    models: dict[str, dict[str, dict[str, bytes]]]
    url: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    claimed_sha256: dict[str, str] = field(default_factory=dict)
    claimed_blob: dict[str, str] = field(default_factory=dict)
    claimed_revision: str = ""
    drop_after: dict[str, int] = field(default_factory=dict)
    stall_after: dict[str, int] = field(default_factory=dict)
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)

    def downloads(self) -> list[tuple[str, str]]:
        """Name and Range of each requested file, in order."""
        return [(path.rsplit("/", 1)[1], wanted) for method, path, wanted in self.asked if method == "GET" and "/resolve/" in path]

    def sibling(self, name: str, content: bytes) -> dict[str, object]:
        """The entry of one file in the information of the model."""
        blob = self.claimed_blob.get(name, hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
        entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob}
        if name.endswith(_LARGE):
            digest = self.claimed_sha256.get(name, hashlib.sha256(content).hexdigest())
            entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 135}
        return entry


@contextmanager
def serving(models: dict[str, dict[str, dict[str, bytes]]]) -> Iterator[Hub]:
    """A hub on 127.0.0.1 during the block."""
    hub = Hub(models)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self) -> None:
        self.hub.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if match := _INFO.match(self.path):
            files = self._files(match[1], match[2])
            if files is not None:
                siblings = [self.hub.sibling(name, content) for name, content in files.items()]
                sha = self.hub.claimed_revision or match[2]
                self._send(
                    200, json.dumps({"id": match[1], "sha": sha, "siblings": siblings}).encode(), {"Content-Type": "application/json"}
                )
        elif match := _FILE.match(self.path):
            files = self._files(match[1], match[2])
            if files is not None and match[3] in files:
                self._send_file(match[3], files[match[3]], match[2])
            elif files is not None:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _files(self, repository: str, revision: str) -> dict[str, bytes] | None:
        if repository not in self.hub.models:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in self.hub.models[repository]:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return self.hub.models[repository][revision]
        return None

    def _send_file(self, name: str, content: bytes, revision: str) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": revision, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.hub.drop_after.pop(name, None)
        stall = self.hub.stall_after.pop(name, None)
        self._send(206 if start else 200, content[start:], headers, only=cut or stall)
        if stall is not None:
            self.hub.stalled.set()
            self.hub.closing.wait(300)
        if cut is not None or stall is not None:
            self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, only: int | None = None) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:only])
            self.wfile.flush()
