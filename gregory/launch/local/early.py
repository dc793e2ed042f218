"""The fork server of a command, forked by the command after the imports that both need.

`manage.py` begins a second time, with the variables of a stage and of the interpreter. After the fork it gets its own variables back from
a memory file. So the server never had a secret in its memory.
"""

# The first interpreter imports nothing else: it takes 12 ms, and these imports would double that.
import os
import sys
from typing import TYPE_CHECKING

from gregory.ml.stages.variables import is_passed_on

if TYPE_CHECKING:
    import socket
    from collections.abc import Container
    from typing import NoReturn

    from gregory.forking.client import Server
    from gregory.launch.local.starter import Ready

COMMANDS = ("train_models", "predict_articles")
# With --dry-run, --help and --runner, a command starts no run, or perhaps none on this machine. argparse takes their beginnings too.
_WITHOUT_RUNS = ("--d", "--h", "-h", "--ru")
# Variables of the interpreter that mean nothing to a process that it forks. With any other, the server begins alone.
_OF_INTERPRETER = frozenset(("PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED"))
# The last argument of a command that has begun a second time, with the descriptor of its memory file. The blanks before it are memory for
# the command lines of runs and stages.
_MARK = "gregory.launch.local.early:"
_BLANKS = 4_096
# What command and server import, and nothing that needs a variable.
_SHARED = (
    *("django.contrib.auth.hashers", "django.core.management", "django.db.models"),
    *("gregory.launch.local.runner", "gregory.training.flags"),
)
# The server of this command and the run that it forks first, until a runner takes them.
server: "Server | None" = None
run: "Ready | None" = None


def prepare() -> None:
    """Fork the server of this command, if it may start local runs. Its runner takes it. To be called before all other imports."""
    if sys.argv[-1].startswith(_MARK):
        _continue(*sys.argv[-1].removeprefix(_MARK).split(":"))
    elif _is_of_use():
        _begin_again()


def _is_of_use() -> bool:
    return (
        sys.platform == "linux"
        and sys.argv[1:2] != []
        and sys.argv[1] in COMMANDS
        and not any(word.startswith(_WITHOUT_RUNS) for word in sys.argv)
        # This machine forks no run of another runner.
        and ("GREGORY_RUNNER" not in os.environ or os.environ["GREGORY_RUNNER"] == "local")
        # Some containers have no such files.
        and os.access("/proc/self/stat", os.R_OK)
        # Without one of them, another file would get its number.
        and None not in (sys.stdin, sys.stdout, sys.stderr)
        # Not below a debugger or a profiler, and without options of the interpreter.
        and sys.orig_argv[1:] == sys.argv
        and all(name in _OF_INTERPRETER for name in os.environ if name.startswith("PYTHON"))
    )


def _begin_again() -> None:
    """Become the same command without secrets. Returns if that is not possible."""
    variables = {name: value for name, value in os.environ.items() if is_passed_on(name) or name in _OF_INTERPRETER}
    # As in every stage: a set of texts has the same order in all of them, and pydantic searches no plugins.
    variables |= {"PYTHONHASHSEED": "0", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
    try:
        descriptor = os.memfd_create("variables", 0)
    except OSError:
        return
    try:
        os.write(descriptor, _encoded())
        os.lseek(descriptor, 0, os.SEEK_SET)
        mark = f"{_MARK}{descriptor}:{backend(os.environ)}"
        os.execve(sys.executable, [sys.executable, *sys.argv, *[""] * _BLANKS, mark], variables)  # noqa: S606 - the same program
    except OSError:
        os.close(descriptor)


def _encoded() -> bytes:
    """The arguments and variables of this process, which have no zero byte."""
    variables = (name + b"=" + value for name, value in os.environb.items())
    return b"\0".join((b"%d" % len(sys.argv), *map(os.fsencode, sys.argv), *variables))


def _restore(content: bytes) -> None:
    number, *texts = content.split(b"\0")
    sys.argv = [os.fsdecode(text) for text in texts[: int(number)]]
    os.environ.clear()
    for text in texts[int(number) :]:
        name, _, value = text.partition(b"=")
        os.environb[name] = value


def backend(names: "Container[str]") -> str:
    """The module of Django's backend for the database of these variables."""
    return "gregory.database.postgresql.base" if "POSTGRES_DB" in names else "django.db.backends.sqlite3.base"


def _continue(descriptor: str, database: str) -> None:
    """Fork the server, and then become the command with its own variables."""
    global server, run
    from contextlib import suppress
    from importlib import import_module

    for name in (*_SHARED, database):
        import_module(name)

    from gregory.forking.server import show_command
    from gregory.launch.local.starter import request_run

    # Without it, the runner starts another server.
    with suppress(OSError):
        server = _fork_server()
    with os.fdopen(int(descriptor), "rb") as file:
        _restore(file.read())
    show_command([sys.executable, *sys.argv])
    run = request_run(server, os.environ) if server else None


def take() -> "tuple[Server | None, Ready | None]":
    """The server and the run, for one runner."""
    global server, run
    taken, server, run = (server, run), None, None
    return taken


def _fork_server() -> "Server":
    import socket

    from gregory.forking.client import END_SECONDS, Server
    from gregory.launch.local import starter

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        pid = os.fork()
        if not pid:
            _serve(theirs, starter.PRELOADED)
    return Server(ours, pid, patience=END_SECONDS)


def _serve(control: "socket.socket", modules: tuple[str, ...]) -> "NoReturn":
    """Become the server. This process never continues as the command, whatever fails."""
    import traceback

    try:
        _become_server(control, modules)
    except BaseException:  # noqa: BLE001 - the process ends with it
        traceback.print_exc()
    finally:
        os._exit(1)


def _become_server(control: "socket.socket", modules: tuple[str, ...]) -> "NoReturn":
    from contextlib import suppress
    from pathlib import Path

    from gregory.env import BASE_DIR
    from gregory.forking import server as program
    from gregory.forking.protocol import SERVER
    from gregory.ml.stages.environment import stage_environment

    os.setsid()
    os.chdir(BASE_DIR)
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        if int(descriptor.name) not in (0, 1, 2, control.fileno()):
            with suppress(OSError):
                os.close(int(descriptor.name))
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for standard in range(3):
            os.dup2(nothing.fileno(), standard)
    variables = stage_environment(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    program.show_command([sys.executable, "-m", SERVER, *modules])
    program.run(control, modules)
