"""The plan of train_models and its summary table, as text or JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from gregory.ml.metrics import NAMES
from gregory.models import PredictionRunLog
from gregory.runs.spec import RunSpec


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


def outcomes(specs: Sequence[RunSpec]) -> list[PredictionRunLog]:
    """The rows of these runs in the order of the specifications, in one query."""
    ids = [algorithm.run_log_id for spec in specs for algorithm in spec.algorithms]
    rows = PredictionRunLog.objects.select_related("algorithm_run", "subject", "team").in_bulk(ids)
    return [rows[pk] for pk in ids if pk in rows]


def summary_table(rows: Sequence[PredictionRunLog]) -> str:
    """The summary table: two lines per success, with the metrics of validation and test, or one line with the reason of a failure."""
    table: list[list[str]] = []
    for row in rows:
        run = row.algorithm_run
        head = [row.team.slug, row.subject.subject_slug, row.algorithm or "", row.model_version, result(row)]
        tail = [f"{run.resources.get('seconds', 0):.0f}", f"{run.resources.get('peak_bytes', 0) / 2**20:.0f}"]
        if not row.success:
            table.append([*head, "", *[""] * len(NAMES), *tail])
            continue
        for part, prefix in (("validation", "val"), ("test", "test")):
            figures = [f"{run.metrics[f'{prefix}_{name}']:.3f}" for name in NAMES]
            table.append([*head, part, *figures, *tail])
            head, tail = [""] * len(head), [""] * len(tail)
    headers = ["team", "subject", "algorithm", "version", "result", "part", *NAMES, "seconds", "peak MiB"]
    return str(tabulate(table, headers=headers, disable_numparse=True, colalign=["left"] * 6 + ["right"] * (len(NAMES) + 2)))


def result(row: PredictionRunLog) -> str:
    """The result of a training in a few words."""
    if row.success is None:
        return "unfinished"
    if row.success:
        count = len(row.algorithm_run.warnings)
        return "success" if count == 0 else f"success, {count} warning{'s' if count > 1 else ''}"
    return f"failed: {row.algorithm_run.reason or 'error'}"
