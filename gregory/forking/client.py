"""Start processes by a server that has imported their libraries."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from gregory.forking.protocol import COMMAND_BYTES, MAXIMUM_BYTES, SERVER, Answer, Beginning, Kind, Request, is_known

POLL_SECONDS = 0.5
END_SECONDS = 2.0


class Forked:
    """A process that a server has forked, with the part of the interface of `subprocess.Popen` that its users need."""

    def __init__(self, stdin: BinaryIO) -> None:
        """stdin: the writing end of its standard input."""
        self.pid = 0
        self.stdin = stdin
        self.stdout: BinaryIO | None = None
        self.returncode: int | None = None
        # What it gets when it begins.
        self.beginning = Beginning()
        # Whether its end can be seen only in the list of processes.
        self.untold = False
        self._status: int | None = None

    def open_status(self) -> int:
        """The writing end of the pipe for its exit code, which this object reads. A child of this process has none."""
        self._status, writing = os.pipe()
        return writing

    def begin(self) -> None:
        """Let it work."""
        with suppress(BrokenPipeError):
            _write(self.stdin, self.beginning.encode())

    def poll(self, seconds: float = 0) -> int | None:
        """The exit code, after a wait of at most these seconds. None while it works, and for an untold end."""
        if self._status is not None and _can_read(self._status, seconds):
            told = os.read(self._status, 20)
            self._close_status()
            self.returncode, self.untold = (int(told), False) if told else (None, True)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + timeout
        while (code := self.poll(max(0.0, until - time.monotonic()))) is None:
            left = max(0.0, until - time.monotonic())
            if self.untold or not left:
                time.sleep(left)
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def release(self) -> None:
        """Close the pipes."""
        self.stdin.close()
        self._close_status()

    def _close_status(self) -> None:
        if self._status is not None:
            os.close(self._status)
            self._status = None


class Server:
    """A server. After a defect, and after `close`, it starts nothing."""

    def __init__(self, control: socket.socket, pid: int, *, patience: float = 0.0) -> None:
        """patience: seconds that a server gets for its end. After that, and at once after a defect, it is killed."""
        self._control = control
        self._pid: int | None = pid
        self._finalizer = weakref.finalize(self, _end, control, pid, os.getpid(), patience)

    def fork(
        self,
        command: Sequence[str],
        *,
        kind: Kind,
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        load: Sequence[str] = (),
        needed: Callable[[], bool] = lambda: True,
    ) -> Forked | None:
        """Fork a process that waits for `begin`. None if the server cannot: the caller then starts the command itself.

        needed: called while the server loads libraries. If it returns False, the server is ended.
        """
        forked = self.request(command, kind=kind, environment=environment, stdout=stdout, stderr=stderr, load=load)
        return self.answer(forked, needed=needed) if forked else None

    def request(
        self,
        command: Sequence[str],
        *,
        kind: Kind,
        environment: Mapping[str, str],
        stdout: int,
        stderr: int,
        load: Sequence[str] = (),
        ready: str = "",
    ) -> Forked | None:
        """The first half of `fork`. ready: a function, "module:name", that the process calls before it waits."""
        reading, writing = os.pipe()
        forked = Forked(os.fdopen(writing, "wb", buffering=0))
        with ExitStack() as stack:
            stack.callback(os.close, reading)
            status = []
            if kind is Kind.RUN:
                status.append(forked.open_status())
                stack.callback(os.close, *status)
            request = Request(kind=kind, command=command, umask=_umask(), load=load, ready=ready)
            if self._send(request, environment, [reading, stdout, stderr], status):
                return forked
        forked.release()
        return None

    def answer(self, forked: Forked, *, needed: Callable[[], bool]) -> Forked | None:
        """The second half of `fork`, before any other request."""
        forked.pid = self._receive(needed)
        if not forked.pid:
            forked.release()
        return forked if forked.pid else None

    def fork_server(self, *, environment: Mapping[str, str], load: Sequence[str], needed: Callable[[], bool]) -> "Server | None":
        """A further server that begins with the libraries of this one, for those that the other stages must not have."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Path(os.devnull).open("wb") as nothing:
            streams = [theirs.fileno(), nothing.fileno(), nothing.fileno()]
            request = Request(kind=Kind.SERVER, command=[sys.executable, "-m", SERVER], umask=_umask(), load=load)
            pid = self._send(request, environment, streams, []) and self._receive(needed)
        if not pid:
            ours.close()
            return None
        with suppress(OSError):
            ours.send(Beginning().encode())
        return Server(ours, pid)

    def has_ended(self) -> bool:
        """Whether it starts nothing more. A server without requests ends by itself."""
        if self._pid is not None:
            # Not reaped here, so that `close` signals no other process.
            with suppress(ChildProcessError):
                if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    self.close()
        return self._pid is None

    def close(self) -> None:
        """End the server. The processes that it has forked continue."""
        if self._pid is not None:
            self._pid = None
            self._finalizer()

    def _send(self, request: Request, environment: Mapping[str, str], streams: Sequence[int], status: Sequence[int]) -> bool:
        if not is_known(request.command) or self._pid is None:
            return False
        try:
            with os.fdopen(os.memfd_create("variables"), "w+b", buffering=0) as variables:
                variables.write(json.dumps(dict(environment)).encode())
                variables.seek(0)
                socket.send_fds(self._control, [request.encode()], [*streams, variables.fileno(), *status])
        except OSError:
            self.close()
            return False
        return True

    def _receive(self, needed: Callable[[], bool]) -> int:
        """The process id, 0 if there is none."""
        try:
            while not _can_read(self._control.fileno(), POLL_SECONDS):
                if not needed():
                    self.close()
                    return 0
            if message := self._control.recv(MAXIMUM_BYTES):
                return Answer(**json.loads(message)).pid
        except OSError:
            pass
        except BaseException:
            # A later request would get the answer to this one.
            self.close()
            raise
        self.close()
        return 0


# Of a run that a server has forked: the server of its stages.
own: Server | None = None


def start_server(modules: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Server | None:
    """Start a server that imports these modules. environment: what every process may know. None if this system has none."""
    if sys.platform != "linux":
        return None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", SERVER, *modules, *[""] * COMMAND_BYTES]
    silent = subprocess.DEVNULL
    with theirs:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=theirs.fileno(), stdout=silent, stderr=silent, start_new_session=True
            )
        except OSError:
            ours.close()
            return None
    # Popen must not wait for the process too.
    process.returncode = 0
    return Server(ours, process.pid, patience=END_SECONDS)


def _end(control: socket.socket, pid: int, owner: int, patience: float) -> None:
    if os.getpid() != owner:
        return
    control.close()
    until = time.monotonic() + patience
    with suppress(ChildProcessError):
        while time.monotonic() < until and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _write(pipe: BinaryIO, content: bytes) -> None:
    """Write all of it. A signal can end one call early."""
    while content:
        content = content[pipe.write(content) :]


def _can_read(descriptor: int, seconds: float) -> bool:
    """Whether there are bytes or the end. `select` refuses the descriptors of a process that has a thousand files open."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _umask() -> int:
    """The mask of this process. A call that returns it would change it for the other threads."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((int(line.split()[1], 8) for line in lines if line.startswith("Umask:")), 0o077)
