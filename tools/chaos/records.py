"""The facts about runs, as tables, volume, audit log and processes have them. Values only, without code of the product."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tools.chaos.schedule import Target
from tools.chaos.script import Blow, Script

FINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The row of a run. label: team/subject."""

    run_id: str
    label: str
    state: str
    reason: str
    detail: str
    attempt: int
    external_name: str
    exit_code: int | None
    queued_at: datetime | None
    submitted_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The row of an algorithm, from the tables of GregoryAI and of this project."""

    run_id: str
    id: int
    algorithm: str
    version: str
    success: bool | None
    reason: str
    error: str | None
    started: datetime | None
    finished: datetime | None
    metrics: dict[str, Any]
    path: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a run: `retried`, `suspended`, `late report` ..."""

    run_id: str
    at: datetime
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A version folder. path: relative to the models. digest: of its manifest. complete: every file has its checksum, at its place."""

    path: str
    row_id: int
    digest: str
    metrics: dict[str, Any]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Marks of one algorithm in one attempt.

    begun: number of times that the training began. done: whether its result was complete.
    """

    attempt: int
    algorithm: str
    begun: int
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Job of the cluster."""

    name: str
    run_id: str
    attempt: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for one Job, from the audit log of the API server. at: seconds since 1970. by_product: by an account of the product."""

    verb: str
    run_id: str
    attempt: int
    code: int
    by_product: bool
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """A time for which Kueue took back a Job that it had released. Seconds since 1970. ended: infinite if it was not released again."""

    run_id: str
    attempt: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Two processes of one kind that were seen at once in one run. kind: `supervisor` or `stage`. seconds: the time of both."""

    kind: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault as it was applied.

    struck: whether the fault had a target. None: unknown, because a response was lost. began, ended: seconds since 1970.
    attempt: the newest known attempt at that time. all_done: every training that could be done was done, so the run was in its last step.
    """

    blow: Blow
    struck: bool | None
    began: float = 0.0
    ended: float = 0.0
    attempt: int = 1
    all_done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """One disturbance as it was applied. in_effect: its target was there, and runs were unfinished. Times are seconds since 1970."""

    target: Target
    began: float
    ended: float
    in_effect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence of one script.

    strikes: in the order of the script. disturbed: the disturbances during the life of the run. runs: the runs of the subject, normally
    one. folders: the version folders of the subject. overlaps: number of workers that found the lock of their run taken.
    last_alive: time of the last sample with a process of the run, in seconds since 1970. alive_at_end: its processes after the last wait.
    """

    script: Script
    strikes: tuple[Strike, ...]
    disturbed: tuple[Disturbed, ...]
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    events: tuple[Event, ...]
    folders: tuple[Folder, ...]
    trainings: tuple[Training, ...]
    overlaps: int
    jobs: tuple[Job, ...]
    requests: tuple[Request, ...]
    together: tuple[Together, ...]
    last_alive: float | None
    alive_at_end: tuple[str, ...]
    suspensions: tuple[Suspension, ...] = ()
