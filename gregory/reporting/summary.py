"""The plan of train_models and its summary table, as text or JSON."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from gregory.ml.metrics import NAMES
from gregory.ml.stratification import Prospect
from gregory.output import counted, one_line
from gregory.runs import store
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmSpec, RunSpec, TrainSpec
from gregory.runs.store import TrainingRecord

# The articles of the test part to read, highest probability first, until 95 % of its relevant articles are found.
READING = "read for 95 %"


def plan_rows(
    specs: Sequence[TrainSpec], prospects: Mapping[int, Prospect], refusals: Mapping[int, str], *, runner: str
) -> list[dict[str, Any]]:
    """The content of --dry-run: one dictionary per training. prospects, refusals: by subject id. A refused run would not start."""
    return [
        {
            **planned(spec, algorithm, runner),
            "cutoff": spec.window.cutoff.isoformat() if spec.window.cutoff else None,
            "relevant": prospects[spec.subject.id].relevant,
            "not_relevant": prospects[spec.subject.id].not_relevant,
            "prob_threshold": spec.config.prob_threshold,
            "pseudo_label": spec.config.pseudo_label,
            "require_gpu": spec.require_gpu,
            "advice": prospects[spec.subject.id].advice or None,
            "refused": refusals.get(spec.subject.id),
        }
        for spec in specs
        for algorithm in spec.algorithms
    ]


def planned(spec: RunSpec, algorithm: AlgorithmSpec, runner: str) -> dict[str, Any]:
    """The part of a plan that trainings and predictions share."""
    return {
        "team": spec.team.slug,
        "subject": spec.subject.slug,
        "algorithm": algorithm.algorithm,
        "version": algorithm.version,
        "runner": runner,
        "window": spec.window.description,
    }


def as_table(rows: Sequence[dict[str, Any]], *, without: Collection[str] = ()) -> str:
    """The rows as a table with the columns of the first row."""
    columns = [column for column in (rows[0] if rows else ()) if column not in without]
    table = [["-" if row[column] is None else one_line(str(row[column])) for column in columns] for row in rows]
    return str(tabulate(table, headers=columns, disable_numparse=True))


def plan_table(rows: Sequence[dict[str, Any]]) -> str:
    """The plan as a table."""
    return as_table(rows, without=("cutoff", "require_gpu"))


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as JSON."""
    return json.dumps(rows, indent=2)


def requests_json(rows: Sequence[dict[str, Any]], requests: Sequence[tuple[RunSpec, Mapping[str, Any]]], *, name: str = "trainings") -> str:
    """The plan and the request to the back end for each run, as JSON. The ids differ from those of a later run, which gets its own."""
    bodies = [{"team": spec.team.slug, "subject": spec.subject.slug, "request": dict(request)} for spec, request in requests]
    return json.dumps({name: rows, "requests": bodies}, indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One training of a command, with the slugs of its subject."""

    team: str
    subject: str
    training: TrainingRecord
    reading: store.Reading | None = None

    @property
    def label(self) -> str:
        """team/subject/algorithm."""
        return one_line(f"{self.team}/{self.subject}/{self.training.algorithm}")


def outcomes(specs: Sequence[RunSpec]) -> list[Outcome]:
    """The trainings of these runs in the order of the specifications, also those whose rows another program deleted."""
    run_ids = [spec.run_id for spec in specs]
    known = {training.record.run_log_id: training for run in store.trainings(run_ids).values() for training in run}
    readings = store.readings(run_ids)
    return [
        Outcome(
            team=spec.team.slug,
            subject=spec.subject.slug,
            training=known.get(algorithm.run_log_id) or store.deleted_training(spec.run_id, algorithm),
            reading=readings.get(algorithm.run_log_id),
        )
        for spec in specs
        for algorithm in spec.algorithms
    ]


def summary_table(outcomes: Sequence[Outcome]) -> str:
    """The summary table: two lines per success, with the metrics of validation and test, or one line with the reason of a failure."""
    table: list[list[str]] = []
    for outcome in outcomes:
        training, record = outcome.training, outcome.training.record
        head = [one_line(outcome.team), one_line(outcome.subject), training.algorithm, training.version, result(training)]
        peak = record.resources.get("peak_bytes")
        tail = [f"{record.resources.get('seconds', 0):.0f}", f"{peak / 2**20:.0f}" if peak else "-"]
        if not training.success:
            table.append([*head, "", *[""] * len(NAMES), "", *tail])
            continue
        reading = "-" if outcome.reading is None else f"{outcome.reading.read:,} of {outcome.reading.articles:,}"
        for part, prefix, read in (("validation", "val", ""), ("test", "test", reading)):
            figures = [_figure(record.metrics.get(f"{prefix}_{name}")) for name in NAMES]
            table.append([*head, part, *figures, read, *tail])
            head, tail = [""] * len(head), [""] * len(tail)
    headers = ["team", "subject", "algorithm", "version", "result", "part", *NAMES, READING, "seconds", "peak MiB"]
    return str(tabulate(table, headers=headers, disable_numparse=True, colalign=["left"] * 6 + ["right"] * (len(NAMES) + 3)))


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
