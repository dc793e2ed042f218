"""The plan of train_models and its summary table, as text or JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from gregory.ml.metrics import NAMES
from gregory.output import counted
from gregory.runs import store
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.store import TrainingRecord


def plan_rows(specs: Sequence[RunSpec], refusals: dict[int, str], *, runner: str) -> list[dict[str, Any]]:
    """The content of --dry-run: one dictionary per training. refusals: by subject id, the cause why its run would not start."""
    return [
        {
            "team": spec.team.slug,
            "subject": spec.subject.slug,
            "algorithm": algorithm.algorithm,
            "version": algorithm.version,
            "runner": runner,
            "window": spec.window.description,
            "cutoff": spec.window.cutoff.isoformat() if spec.window.cutoff else None,
            "prob_threshold": spec.config.prob_threshold,
            "pseudo_label": spec.config.pseudo_label,
            "require_gpu": spec.require_gpu,
            "refused": refusals.get(spec.subject.id),
        }
        for spec in specs
        for algorithm in spec.algorithms
    ]


def plan_table(rows: Sequence[dict[str, Any]]) -> str:
    """The plan as a table."""
    columns = ("team", "subject", "algorithm", "version", "runner", "window", "prob_threshold", "pseudo_label", "refused")
    table = [["-" if row[column] is None else row[column] for column in columns] for row in rows]
    return str(tabulate(table, headers=list(columns), disable_numparse=True))


def plan_json(rows: Sequence[dict[str, Any]]) -> str:
    """The plan as JSON."""
    return json.dumps(rows, indent=2)


def requests_json(rows: Sequence[dict[str, Any]], requests: Sequence[tuple[RunSpec, Mapping[str, Any]]]) -> str:
    """The plan and the request to the back end for each run, as JSON. The ids differ from those of a later run, which gets its own."""
    bodies = [{"team": spec.team.slug, "subject": spec.subject.slug, "request": dict(request)} for spec, request in requests]
    return json.dumps({"trainings": rows, "requests": bodies}, indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One training of a command, with the slugs of its subject."""

    team: str
    subject: str
    training: TrainingRecord

    @property
    def label(self) -> str:
        """team/subject/algorithm."""
        return f"{self.team}/{self.subject}/{self.training.algorithm}"


def outcomes(specs: Sequence[RunSpec]) -> list[Outcome]:
    """The trainings of these runs in the order of the specifications, also those whose rows another program deleted."""
    known = {training.record.run_log_id: training for run in store.trainings([spec.run_id for spec in specs]).values() for training in run}
    return [
        Outcome(
            team=spec.team.slug,
            subject=spec.subject.slug,
            training=known.get(algorithm.run_log_id) or store.deleted_training(spec.run_id, algorithm),
        )
        for spec in specs
        for algorithm in spec.algorithms
    ]


def summary_table(outcomes: Sequence[Outcome]) -> str:
    """The summary table: two lines per success, with the metrics of validation and test, or one line with the reason of a failure."""
    table: list[list[str]] = []
    for outcome in outcomes:
        training, record = outcome.training, outcome.training.record
        head = [outcome.team, outcome.subject, training.algorithm, training.version, result(training)]
        tail = [f"{record.resources.get('seconds', 0):.0f}", f"{record.resources.get('peak_bytes', 0) / 2**20:.0f}"]
        if not training.success:
            table.append([*head, "", *[""] * len(NAMES), *tail])
            continue
        for part, prefix in (("validation", "val"), ("test", "test")):
            figures = [_figure(record.metrics.get(f"{prefix}_{name}")) for name in NAMES]
            table.append([*head, part, *figures, *tail])
            head, tail = [""] * len(head), [""] * len(tail)
    headers = ["team", "subject", "algorithm", "version", "result", "part", *NAMES, "seconds", "peak MiB"]
    return str(tabulate(table, headers=headers, disable_numparse=True, colalign=["left"] * 6 + ["right"] * (len(NAMES) + 2)))


def _figure(value: float | None) -> str:
    # Another version of this program may measure other figures.
    return "-" if value is None else f"{value:.3f}"


def result(training: TrainingRecord) -> str:
    """The result of a training in a few words."""
    if training.success is None:
        return "unfinished"
    if not training.success:
        return f"failed: {training.reason or Reason.ERROR}"
    count = len(training.record.warnings)
    words = ["success", *([counted(count, "warning")] if count else [])]
    return ", ".join(words if training.row else [*words, "row deleted"])
