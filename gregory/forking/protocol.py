"""The messages between a server and its clients."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from importlib import import_module
from typing import cast

MAXIMUM_BYTES = 65_536
# A server begins with this many bytes after its own arguments. A command line that /proc shows for a forked process must fit.
COMMAND_BYTES = 4_096
SERVER = "gregory.forking"
# The packages whose `__main__.main` a forked process can call.
PROGRAMS = ("job", "gregory.ml.stages", SERVER)


class Kind(StrEnum):
    """RUN: the process stays hidden and gets a server of its own, and an intermediate process tells its end.

    STAGE: its parent is the client, which must be a run. SERVER: the same, and the process stays hidden.
    """

    RUN = "run"
    STAGE = "stage"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One process. command: as it would begin alone. load: a function of the server, "module:name", and its argument.

    It is called before the fork of a stage, and after that of a run, for the next run. ready: a function that the process calls before
    it waits for its beginning.

    Its descriptors are standard input, output and error, the variables as JSON, and of a run the pipe for its exit code.
    """

    kind: Kind
    command: Sequence[str]
    umask: int
    load: Sequence[str] = ()
    ready: str = ""

    @property
    def program(self) -> str:
        """The package of the process."""
        return self.command[2]

    def encode(self) -> bytes:
        """The message."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """pid: of the process, 0 if the server started none. It waits for its `Beginning` before its work."""

    pid: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a process waits for: one line on its standard input. variables, standard_output, standard_error: those not in the request."""

    variables: Mapping[str, str] = field(default_factory=dict)
    standard_output: str = ""
    standard_error: str = ""

    def encode(self) -> bytes:
        """The line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def function(name: str) -> Callable[..., object]:
    """The function of a name "module:name"."""
    module, _, name = name.partition(":")
    return cast(Callable[..., object], getattr(import_module(module), name))


def is_known(command: Sequence[str]) -> bool:
    """Whether a server can fork this program."""
    return command[:2] == [sys.executable, "-m"] and command[2] in PROGRAMS and len(os.fsencode("\0".join(command))) < COMMAND_BYTES
