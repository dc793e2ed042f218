"""The program of a server. It has one thread and no variable of a run, so nothing of them is in the processes that it forks."""

import atexit
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from gregory import privacy
from gregory.collector import without_collector
from gregory.forking import client
from gregory.forking.protocol import MAXIMUM_BYTES, Answer, Beginning, Kind, Request, function

DESCRIPTORS = 5
# A process that starts as seldom as this gains nothing, and the libraries take memory beside a long training.
IDLE_SECONDS = 60
ACCOUNT_SECONDS = 1.0
_PR_SET_CHILD_SUBREAPER = 36


def main() -> NoReturn:
    """Import the modules of the command line, then serve."""
    control = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    run(control, sys.argv[1:])


def run(control: socket.socket, modules: Sequence[str]) -> NoReturn:
    """Import the modules, then serve."""
    # A stage has the same user. It must not reach the processes of later runs by way of this one.
    privacy.hide_memory()
    # With this signal ignored, the kernel tells nobody how a process ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with without_collector():
        for name in filter(None, modules):
            import_module(name)
    serve(control)


def serve(control: socket.socket) -> NoReturn:
    """Fork a process for each request. The server ends when the client closes its end, or has no request for some time."""
    control.settimeout(IDLE_SECONDS)
    # The pages of these objects stay common to all processes, because no collector visits them.
    gc.disable()
    gc.freeze()
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(control, MAXIMUM_BYTES, DESCRIPTORS)
        except TimeoutError:
            if _has_children():
                # The run of the client must stay one of its descendants.
                continue
            os._exit(0)
        if not message:
            _account()
            os._exit(0)
        _has_children()
        values = json.loads(message)
        request = Request(**{**values, "kind": Kind(values["kind"])})
        answer, forked = Answer(), False
        try:
            if request.kind is not Kind.RUN:
                _load(request)
            _require_one_thread()
            reading, writing = os.pipe()
            forked = os.fork() == 0
        except Exception as error:  # noqa: BLE001 - the client starts the process without the server
            answer = Answer(refusal=f"{type(error).__name__}: {error}")
        if forked:
            os.close(reading)
            control.close()
            _intermediate(request, descriptors, writing)
        if not answer.refusal:
            os.close(writing)
            answer = Answer(pid=_forked_pid(request, reading))
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(OSError):
            control.send(json.dumps(asdict(answer)).encode())
        if request.kind is Kind.RUN:
            # The first stage of a run must not wait for it. Without the libraries, each later run loads its own.
            with suppress(Exception):
                _load(request)


def _load(request: Request) -> None:
    if request.load:
        function(request.load[0])(*request.load[1:])
        gc.freeze()


def _require_one_thread() -> None:
    """A fork copies only the thread that calls it. The locks of all others would stay closed for ever."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise RuntimeError(f"the server has {threads} threads")


def _forked_pid(request: Request, reading: int) -> int:
    """The process that the intermediate one has forked. A stage is then a child of its run."""
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    if request.kind is not Kind.RUN:
        with suppress(ChildProcessError):
            os.wait()
    return int(told or 0)


def _has_children() -> bool:
    """Reap those that have ended, and return whether another is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _account() -> None:
    """Reap the process of a run that is ending, so that the client's processor time has that of the run."""
    until = time.monotonic() + ACCOUNT_SECONDS
    while _has_children() and time.monotonic() < until:
        time.sleep(0.005)


def _intermediate(request: Request, descriptors: Sequence[int], writing: int) -> NoReturn:
    """Fork the process. The kernel gives a stage to its run at the end of this process. This process tells the end of a run."""
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        _become(request, descriptors)
    os.write(writing, str(pid).encode())
    os.close(writing)
    if request.kind is Kind.RUN:
        for descriptor in descriptors[:-1]:
            os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        with suppress(OSError):
            os.write(descriptors[-1], str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: Request, descriptors: Sequence[int]) -> NoReturn:
    """Turn this process into that of the request."""
    os.setsid()
    if request.kind is Kind.RUN:
        _fork_own_server(descriptors)
    elif request.kind is Kind.STAGE:
        privacy.show_memory()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    with os.fdopen(descriptors[3], "rb") as file:
        variables = json.loads(file.read())
    for descriptor in (*descriptors[:3], *descriptors[4:]):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(variables)
    os.umask(request.umask)
    show_command(request.command)
    if request.ready:
        function(request.ready)()
    _begin()
    gc.enable()
    sys.argv = [request.program, *request.command[3:]]
    _end(_exit_code(import_module(f"{request.program}.__main__").main))


def _begin() -> None:
    """Wait for the client, and take what was not in the request."""
    line = b""
    while not line.endswith(b"\n"):
        if not (part := os.read(0, MAXIMUM_BYTES)):
            # The client has ended, or knows no such process.
            os._exit(1)
        line += part
    beginning = Beginning(**json.loads(line))
    os.environ.update(beginning.variables)
    for number, path in ((1, beginning.standard_output), (2, beginning.standard_error)):
        if path:
            with Path(path).open("ab", buffering=0) as stream:
                os.dup2(stream.fileno(), number)


def _exit_code(function: Callable[[], int]) -> int:
    """As the interpreter finds it."""
    try:
        return function()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the process ends with it
        traceback.print_exc()
        return 1


def _end(code: int) -> NoReturn:
    """End as `multiprocessing` ends its processes. The interpreter would visit all objects, and so copy the pages of the server."""
    if client.own is not None:
        client.own.close()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _fork_own_server(descriptors: Sequence[int]) -> None:
    """Fork the server of the stages of this run, before this process has read a variable. The stages become children of the run."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if pid := os.fork():
        theirs.close()
        client.own = client.Server(ours, pid)
        return
    ours.close()
    for descriptor in descriptors:
        os.close(descriptor)
    # A signal to the session of a run is not for its server.
    os.setsid()
    serve(theirs)


def show_command(command: Sequence[str]) -> None:
    """Let /proc show this command line: operators and programs recognise a process by it."""
    text = os.fsencode("\0".join(command)) + b"\0"
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    # Fields 48 and 49 of proc(5) are the addresses of the first argument and of the end of the last.
    start, end = int(fields[45]), int(fields[46])
    if len(text) < end - start:
        ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
