"""Checks a run: the evidence must fit the faults. Pure.

The other checks are in `check_rows`, `check_times`, `check_executions` and `check_jobs`.
"""

from collections.abc import Iterator

from tools.chaos import check_executions, check_jobs, check_rows, check_times, effects
from tools.chaos.effects import End
from tools.chaos.records import Evidence, Run, Strike
from tools.chaos.script import Fault


def violations(evidence: Evidence) -> list[str]:
    """The violations, as text. Empty if there are none."""
    if len(evidence.runs) != 1:
        return [f"it has {len(evidence.runs)} runs"]
    (run,) = evidence.runs
    return [
        *_ends(evidence, run),
        *check_rows.of(evidence, run),
        *check_times.of(evidence, run),
        *check_executions.of(evidence, run),
        *check_jobs.of(evidence, run),
    ]


def end_of(evidence: Evidence) -> str:
    """State, reason and attempt, for the table."""
    if len(evidence.runs) != 1:
        return "no run" if not evidence.runs else "several runs"
    (run,) = evidence.runs
    again = f" at attempt {run.attempt}" if run.attempt > 1 else ""
    return f"{run.state}{f' ({run.reason})' if run.reason else ''}{again}"


def described(strike: Strike) -> str:
    """A fault and whether it struck, for people."""
    how = {True: "", False: " (too late)", None: " (perhaps)"}[strike.struck]
    return f"{strike.blow.fault}{how}{', in the last step' if strike.all_done else ''}"


def _ends(evidence: Evidence, run: Run) -> Iterator[str]:
    if not run.is_final:
        yield f"open at the end: {run.state}"
        return
    allowed = effects.permitted(
        evidence.strikes,
        evidence.disturbed,
        done=_done(evidence),
        algorithms=len(evidence.script.algorithms),
        suspensions=evidence.suspensions,
    )
    if End(state=run.state, reason=run.reason, attempt=run.attempt) not in allowed:
        faults = "; ".join(map(described, evidence.strikes)) or "none"
        yield f"wrong end: {end_of(evidence)}, faults: {faults}: {run.detail[:400]}"
    yield from _exit_code(evidence, run)


def _done(evidence: Evidence) -> list[int]:
    """For each trained algorithm, the attempt."""
    done = sorted((training for training in evidence.trainings if training.done), key=lambda training: -training.attempt)
    return list({training.algorithm: training.attempt for training in done}.values())


def _exit_code(evidence: Evidence, run: Run) -> Iterator[str]:
    """The code of the last attempt must fit its end."""
    codes: set[int | None] = set()
    for rule in effects.expected(evidence.strikes):
        codes |= rule.codes
    if effects.node_losses(evidence.disturbed):
        codes |= effects.RULES[Fault.SHIM_KILLED].codes
    if run.state == "succeeded":
        codes |= {0}
    elif codes and run.attempt > 1 and _done(evidence):
        # An attempt that only published a finished model.
        codes |= {1}
    if run.exit_code not in codes:
        yield f"exit code {run.exit_code} of a run that {run.state}, permitted: {sorted(codes, key=str)}"
