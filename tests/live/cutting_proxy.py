"""A proxy between the product and a PostgreSQL server that cuts one connection at one message.

It reads the protocol as far as it must. A message is a part of the dialogue that the server answers: the start of a session, a step of
the authentication, a simple query, or the messages of an extended query up to their Sync. Messages are counted over all connections.
"""

import socket
import struct
import threading
from dataclasses import dataclass, field

# Message types that the server answers: Query, Sync, and a response of the authentication.
ANSWERED = (b"Q", b"S", b"p")
TERMINATE = b"X"
# The first message of a client has no type. This code asks for TLS or GSS encryption. The answer is one byte.
ENCRYPTION_REQUESTS = (80877103, 80877104)
# Message types of the server: ReadyForQuery, Authentication. These codes of the latter need no response.
READY, AUTHENTICATION = b"Z", b"R"
NO_RESPONSE = (0, 12)


@dataclass(slots=True, kw_only=True)
class CuttingProxy:
    """Forwards connections of loopback to `server_port`, from `start` on.

    cut_at: the message, counted from 1, at which one connection ends. 0: none. executed: the server executes the message, and only its
    answer is lost. `seen` is the number of messages so far, and `cut` is the text of the message at the cut.
    """

    server_port: int
    cut_at: int = 0
    executed: bool = False
    seen: int = field(default=0, init=False)
    cut: str = field(default="", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _listener: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """The port for the clients."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Accept connections in threads, until `close`."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no other connection."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.server_port)) as server:
            try:
                while self._exchange(client, server, first=True) == b"encryption refused":
                    pass
                while self._exchange(client, server):
                    pass
            except (OSError, EOFError):
                # One side ended. Closing the other is all that a network does.
                return

    def _exchange(self, client: socket.socket, server: socket.socket, *, first: bool = False) -> bytes:
        """Forward one message and its answer. Returns nothing if the connection ends here."""
        kind, message = _first(client) if first else _message(client)
        while not first and kind not in (*ANSWERED, TERMINATE):
            kind, more = _message(client)
            message += more
        if kind == TERMINATE:
            server.sendall(message)
            return b""
        cut = self._is_cut(message)
        if cut and not self.executed:
            return b""
        server.sendall(message)
        if first and struct.unpack("!I", message[4:8])[0] in ENCRYPTION_REQUESTS:
            answer, goes_on = _exactly(server, 1), b"encryption refused"
        else:
            answer, goes_on = _answer(server), b"yes"
        if cut:
            return b""
        client.sendall(answer)
        return goes_on

    def _is_cut(self, message: bytes) -> bool:
        with self._lock:
            self.seen += 1
            if self.seen != self.cut_at:
                return False
            self.cut = "".join(letter if letter.isprintable() else " " for letter in message.decode("utf-8", "replace"))
            return True


def _first(client: socket.socket) -> tuple[bytes, bytes]:
    length = _exactly(client, 4)
    return b"", length + _exactly(client, struct.unpack("!I", length)[0] - 4)


def _message(end: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(end, 5)
    return head[:1], head + _exactly(end, struct.unpack("!I", head[1:])[0] - 4)


def _answer(server: socket.socket) -> bytes:
    """All messages of the server until it waits for the client, or until it ends the session."""
    answer = b""
    while True:
        try:
            kind, message = _message(server)
        except EOFError:
            if answer:
                return answer
            raise
        answer += message
        if kind == READY or (kind == AUTHENTICATION and struct.unpack("!I", message[5:9])[0] not in NO_RESPONSE):
            return answer


def _exactly(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (part := end.recv(count - len(data))):
            raise EOFError
        data += part
    return data
