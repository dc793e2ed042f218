"""Evidence of correct runs, for the tests of the judge. Each test changes one fact."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.chaos.records import Disturbed, Event, Evidence, Folder, Job, Request, Row, Run, Strike, Training
from tools.chaos.schedule import Target
from tools.chaos.script import Blow, Fault, Script

LABEL, ALGORITHMS = "team-0/subject-0", ("lstm", "lgbm_tfidf")
START = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = {"test_f1": 0.5}
SCRIPT = Script(number=0, team="team-0", subject="subject-0", seconds=dict.fromkeys(ALGORITHMS, 1.0), blows=())


def at(seconds: float) -> datetime:
    """A time of the run, which is queued at 0 and ends at 60."""
    return START + timedelta(seconds=seconds)


RUN = Run(
    run_id="r", label=LABEL, state="succeeded", reason="", detail="", attempt=1, external_name="job", exit_code=0,
    queued_at=at(0), submitted_at=at(1), started_at=at(5), finished_at=at(60),
)  # fmt: skip
ROWS = tuple(
    Row(
        run_id="r", id=number, algorithm=name, version="1", success=True, reason="", error=None, started=at(10 + number),
        finished=at(20 + number), metrics=METRICS, path=f"{LABEL}/{name}/1", digest=f"digest {name}",
    )
    for number, name in enumerate(ALGORITHMS)
)  # fmt: skip
FOLDERS = tuple(Folder(path=row.path, row_id=row.id, digest=row.digest, metrics=METRICS, complete=True) for row in ROWS)
DONE = tuple(Training(attempt=1, algorithm=name, begun=1, done=True) for name in ALGORITHMS)
JOB = Job(name="job", run_id="r", attempt=1, finished=True)
MADE = Request(verb="create", run_id="r", attempt=1, code=201, by_product=True, at=at(1).timestamp())
RETRIED = Event(run_id="r", at=at(30), kind="retried", message="attempt 1 ended")
WELL = Evidence(
    script=SCRIPT, strikes=(), disturbed=(), runs=(RUN,), rows=ROWS, events=(), folders=FOLDERS, trainings=DONE, overlaps=0, jobs=(JOB,),
    requests=(MADE,), together=(), last_alive=at(60).timestamp(), alive_at_end=(),
)  # fmt: skip


def strike(fault: Fault, *, struck: bool | None = True, seconds: float = 15, attempt: int = 1, all_done: bool = False) -> Strike:
    """A fault so many seconds after the queueing."""
    blow = Blow(fault=fault, at=0, delay=0.0, pause=0.0)
    began = at(seconds).timestamp()
    return Strike(blow=blow, struck=struck, began=began, ended=began, attempt=attempt, all_done=all_done)


def disturbed(target: Target, began: float, ended: float) -> Disturbed:
    return Disturbed(target=target, began=at(began).timestamp(), ended=at(ended).timestamp(), in_effect=True)


def run(**changes: Any) -> Evidence:
    """A correct run with another run row."""
    return replace(WELL, runs=(replace(RUN, **changes),))


def row(**changes: Any) -> Evidence:
    """A correct run with another row of its first algorithm."""
    return replace(WELL, rows=(replace(ROWS[0], **changes), *ROWS[1:]))


def again(*strikes: Strike, attempts: int = 2, **changes: Any) -> Evidence:
    """A run that succeeded in a later attempt, with a Job for each."""
    numbers = range(1, attempts + 1)
    later = tuple(replace(training, attempt=attempts) for training in DONE)
    evidence = replace(
        WELL,
        strikes=strikes,
        runs=(replace(RUN, attempt=attempts),),
        events=(RETRIED,) * (attempts - 1),
        jobs=tuple(replace(JOB, attempt=number) for number in numbers),
        requests=tuple(replace(MADE, attempt=number) for number in numbers),
        trainings=(Training(attempt=1, algorithm=ALGORITHMS[0], begun=1, done=False), *later),
    )
    return replace(evidence, **changes)


MESSAGES = {"killed": "the worker was killed", "cancelled": "cancelled by me", "deleted": "the Job was deleted", "evicted": "evicted"}


def failed(*strikes: Strike, state: str = "failed", reason: str, attempt: int = 1, code: int | None = None, **changes: Any) -> Evidence:
    """A run without a model, whose rows fit it."""
    rows = tuple(
        replace(one, success=False, reason=reason, error=MESSAGES.get(reason, reason), metrics={}, path="", digest="") for one in ROWS
    )
    before = again(*strikes, attempts=attempt)
    ended = replace(RUN, state=state, reason=reason, attempt=attempt, exit_code=code)
    trainings = tuple(replace(one, done=False) for one in before.trainings)
    return replace(replace(before, runs=(ended,), rows=rows, folders=(), trainings=trainings), **changes)
