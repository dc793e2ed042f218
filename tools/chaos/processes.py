"""Processes of runs in pods, as this machine sees them, found by their command line and environment."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tools.cluster import cgroups

RUNS_FOLDER = ".runs"


class Kind(StrEnum):
    """INIT: the first process of the container. SUPERVISOR: `python -m job`. STAGE: a worker."""

    INIT = "init"
    SUPERVISOR = "supervisor"
    STAGE = "stage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """stage: its name, for a worker."""

    pid: int
    parent: int
    kind: Kind
    run_id: str
    stage: str = ""


def alive() -> list[Process]:
    """Every process of every run."""
    return [found for pid in sorted(cgroups.members()) if (found := _seen(pid)) is not None]


def of_run(run_id: str, kind: Kind, *, stage: str = "") -> list[Process]:
    """The processes of a run. stage: those of this stage alone."""
    found = [one for one in without_copies(alive()) if one.run_id == run_id and one.kind is kind]
    return [one for one in found if not stage or one.stage == stage]


def without_copies(found: Iterable[Process]) -> list[Process]:
    """Without a child between fork and exec, which has the command line of its parent."""
    found = list(found)
    kinds = {one.pid: (one.kind, one.run_id) for one in found}
    return [one for one in found if kinds.get(one.parent) != (one.kind, one.run_id)]


def together(found: Iterable[Process]) -> set[tuple[str, Kind]]:
    """Run and kind of which there are two processes at once."""
    counts: defaultdict[tuple[str, Kind], int] = defaultdict(int)
    for one in without_copies(found):
        counts[one.run_id, one.kind] += 1
    return {key for key, count in counts.items() if count > 1 and key[1] is not Kind.INIT}


def parsed(pid: int, parent: int, command: list[str], environment: dict[str, str]) -> Process | None:
    """The process of a run with this command line and environment. None: it is no such process."""
    if "gregory.ml.stages" in command and "--in" in command:
        source = Path(command[command.index("--in") + 1])
        if RUNS_FOLDER in source.parts[:-1]:
            run_id = source.parts[source.parts.index(RUNS_FOLDER) + 1]
            return Process(pid=pid, parent=parent, kind=Kind.STAGE, run_id=run_id, stage=source.parent.name)
        return None
    specification = environment.get("GREGORY_RUN_SPEC", "")
    if not specification:
        return None
    run_id = str(json.loads(specification)["run_id"])
    if command[1:] == ["-m", "job"]:
        return Process(pid=pid, parent=parent, kind=Kind.SUPERVISOR, run_id=run_id)
    if command and Path(command[0]).name == "dumb-init":
        return Process(pid=pid, parent=parent, kind=Kind.INIT, run_id=run_id)
    return None


def send(found: Iterable[Process], signal: int) -> bool:
    """Send a signal. Returns whether there was a process."""
    sent = False
    for one in found:
        with suppress(ProcessLookupError):
            os.kill(one.pid, signal)
            sent = True
    return sent


def _seen(pid: int) -> Process | None:
    """None also for a process that ends meanwhile."""
    try:
        command = [word for word in Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0") if word]
        pairs = [word.partition("=") for word in Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")]
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None
    return parsed(pid, parent, command, {name: value for name, _, value in pairs})
