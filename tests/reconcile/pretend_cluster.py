"""A durable back end behind the protocol of runners. A test sets the observation of each run."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gregory.launch import processes
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.spec import RunHandle, RunSpec

HOST = "pretend@cluster"
GONE = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="the Job is not there"), missing=True)


@dataclass
class PretendCluster:
    """jobs: the observation of each Job, by name. submitted: all calls, so a test finds doubles. refuses: the error of `submit`."""

    name: str = "pretend"
    durable: bool = True
    max_parallel: int | None = None
    shares_models_dir: bool = False
    gives_gpu: bool = False
    max_attempts: int = 3
    stall_seconds: int = 1800
    jobs: dict[str, Observation] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    # Whether `observe` shows the end of a cancelled run once. Another process may have observed it first.
    shows_ends: bool = True
    ended: dict[str, Observation] = field(default_factory=dict)
    looks: list[int] = field(default_factory=list)
    away: str = ""
    # Each observation first calls the next of these: the events before it.
    steps: list[Callable[[], None]] = field(default_factory=list)
    refuses: Exception | None = None
    on_submit: Callable[[RunSpec, RunHandle], None] = lambda spec, handle: None
    on_cancel: Callable[[RunHandle], None] = lambda handle: None

    def __call__(self, installation: Installation | str) -> "PretendCluster":
        """The runner of every installation and every name is this one."""
        return self

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Every precondition holds."""

    def owner_handle(self) -> RunHandle:
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        return Rendered(spec=spec, request={"kind": "Job", "metadata": {"name": job(spec)}})

    def submit(self, rendered: Rendered) -> RunHandle:
        if self.refuses is not None:
            raise self.refuses
        name = job(rendered.spec)
        self.submitted.append(name)
        self.jobs.setdefault(name, Observation(status=Status.ALIVE, detail="its pod runs", node="node-1"))
        handle = handle_of(rendered.spec)
        self.on_submit(rendered.spec, handle)
        return handle

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        self.looks.append(len(handles))
        if self.steps:
            self.steps.pop(0)()
        return [self._observe(handle) for handle in handles]

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        self.cancelled.append(handle.name)
        self.on_cancel(handle)
        if self.jobs.pop(handle.name, None) is not None and self.shows_ends:
            self.ended[handle.name] = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="its pod was ended", exit_code=137))

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        yield f"line of attempt {spec.attempt}"
        waiting()

    def log_tail(self, spec: RunSpec) -> str:
        return "last line"

    def debug_commands(self, spec: RunSpec, handle: RunHandle) -> list[str]:
        return [f"kubectl describe job {handle.name}"]

    def cleanup(self, spec: RunSpec) -> None:
        """A cluster removes its Jobs itself."""

    def collect_garbage(self, unfinished: Collection[str], **limits: object) -> list[str]:
        orphans = [name for name in self.jobs if name.split("-")[1] not in unfinished]
        for name in orphans:
            del self.jobs[name]
        return orphans

    def terminate(self, spec: RunSpec, *, report: str = "", **facts: Any) -> None:
        """From now on the attempt is observed as terminated. facts: of its diagnosis."""
        end = Diagnosis(**{"summary": "it ended", **facts})
        self.jobs[job(spec)] = Observation(status=Status.TERMINATED, diagnosis=end, node="node-1", report=report)

    def _observe(self, handle: RunHandle) -> Observation:
        if handle.host != HOST:
            return processes.observe(handle)
        if self.away:
            return Observation(status=Status.UNKNOWN, detail=self.away)
        return self.jobs.get(handle.name) or self.ended.pop(handle.name, GONE)


def job(spec: RunSpec) -> str:
    return f"run-{spec.run_id}-a{spec.attempt}"


def handle_of(spec: RunSpec) -> RunHandle:
    return RunHandle(host=HOST, name=job(spec), uid=f"uid-{spec.attempt}")
