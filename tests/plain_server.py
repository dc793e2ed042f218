"""A server that is no PostgreSQL: it refuses encryption and asks for the password in clear text. It keeps what clients send as proof."""

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# The codes of the first message of a client: two requests for encryption, and the start of a session.
_ENCRYPTION, _SESSION = (80877103, 80877104), 196608
_ASK_CLEAR_TEXT = b"R" + struct.pack("!ii", 8, 3)


@dataclass(slots=True, kw_only=True)
class PlainServer:
    """sessions: the number of sessions that clients began. passwords: what they sent as proof."""

    host: str
    port: int
    sessions: int = 0
    passwords: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """The variables with which a command takes it for its database."""
        return {
            "POSTGRES_DB": "gregory",
            "POSTGRES_USER": "gregory",
            "POSTGRES_PASSWORD": "hunter2",
            "DB_HOST": self.host,
            "DB_PORT": str(self.port),
        }


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[PlainServer]:
    """The server for the block. port: 0 for a free one."""
    with socketserver.ThreadingTCPServer((host, port), _Session, bind_and_activate=False) as server:
        server.allow_reuse_address = server.daemon_threads = True
        server.server_bind()
        server.server_activate()
        server.seen = PlainServer(host=host, port=server.server_address[1])  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.seen  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """One client, until it has sent a password or has left."""
        seen: PlainServer = self.server.seen  # type: ignore[attr-defined]
        while len(header := self.rfile.read(8)) == 8:
            length, code = struct.unpack("!ii", header)
            self.rfile.read(length - 8)
            if code in _ENCRYPTION:
                self.wfile.write(b"N")
            elif code == _SESSION:
                seen.sessions += 1
                self.wfile.write(_ASK_CLEAR_TEXT)
                if self.rfile.read(1) == b"p":
                    (size,) = struct.unpack("!i", self.rfile.read(4))
                    seen.passwords.append(self.rfile.read(size - 4).rstrip(b"\0").decode())
                return
            else:
                return
