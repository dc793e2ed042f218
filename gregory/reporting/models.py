"""The versions of the models folder as tables, text and JSON."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from tabulate import tabulate

from gregory.ml import artifacts
from gregory.ml.catalogue import Entry
from gregory.ml.errors import ArtifactError
from gregory.ml.evaluation import Evaluation
from gregory.ml.files import read_text
from gregory.ml.manifest import Manifest
from gregory.ml.metrics import NAMES
from gregory.ml.promotion import Promotion, Selection
from gregory.output import counted

_LISTED = ("roc_auc", "pr_auc", "f1")
# Of an operating point on the test part, with the heads of the columns.
_FIGURES = {
    "threshold": "threshold", "selected": "selected", "found": "found", "precision": "precision", "recall": "recall",
    "work_saved": "work saved",
}  # fmt: skip


def summaries(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A dictionary per version, for JSON."""
    return [_summary(entry) for entry in entries]


def _summary(entry: Entry) -> dict[str, Any]:
    return {
        "team": entry.team,
        "subject": entry.subject,
        "algorithm": entry.algorithm,
        "version": entry.version,
        "created_at": entry.created_at.isoformat() if entry.created_at else None,
        "articles": entry.labelled,
        "metrics": entry.metrics,
        "promoted": entry.promoted,
        "used": entry.used,
        "warnings": list(entry.warnings),
        "gate": entry.gate,
        "problem": entry.problem,
    }


def list_table(entries: Sequence[Entry]) -> str:
    """A line per version: date, articles, test figures, use, and the number of warnings."""
    headers = ["team/subject", "algorithm", "version", "trained", "articles", "ROC AUC", "PR AUC", "f1", "used", "notes"]
    return str(tabulate([_line(entry) for entry in entries], headers=headers, disable_numparse=True))


def _line(entry: Entry) -> list[str]:
    figures = [_number(entry.metrics.get(f"test_{name}")) for name in _LISTED]
    used = "promoted" if entry.promoted else "newest" if entry.used else ""
    warnings = counted(len(entry.warnings), "warning") if entry.warnings else ""
    notes = entry.problem or "; ".join(note for note in (warnings, entry.gate) if note)
    trained = f"{entry.created_at:%Y-%m-%d %H:%M}" if entry.created_at else "-"
    articles = "-" if entry.labelled is None else str(entry.labelled)
    return [f"{entry.team}/{entry.subject}", entry.algorithm, entry.version, trained, articles, *figures, used, notes]


def everything(entry: Entry, manifest: Manifest, promotion: Promotion | None) -> dict[str, Any]:
    """All facts about a version, for JSON."""
    changes = promotion.selections if promotion else ()
    return {
        **_summary(entry),
        "folder": str(entry.folder),
        "digest": artifacts.digest(entry.folder),
        "run_id": manifest.provenance.run_id,
        "row": manifest.provenance.run_log_id,
        "window": manifest.provenance.window,
        "image_digest": manifest.provenance.image_digest,
        "data": manifest.data.model_dump(mode="json"),
        "base_models": manifest.base_models,
        "libraries": manifest.libraries,
        "compute": manifest.compute,
        "operating_points": _operating_points(entry),
        "promotions": [change.model_dump(mode="json") for change in changes if change.version == entry.version],
    }


def _operating_points(entry: Entry) -> list[dict[str, Any]]:
    """The operating points of a version. Empty if an older release trained it, or its evaluation.json is damaged."""
    try:
        evaluation = Evaluation.model_validate_json(read_text(entry.folder / artifacts.EVALUATION))
    except (ArtifactError, OSError, ValidationError):
        return []
    return [point.model_dump(mode="json") for point in evaluation.operating_points]


def full_text(facts: dict[str, Any]) -> str:
    """All facts of `everything` as text."""
    used = "promoted" if facts["promoted"] else "used, because it is the newest" if facts["used"] else "not used"
    lines = [f"{facts['team']}/{facts['subject']}/{facts['algorithm']}/{facts['version']}: {used}"]
    for name in ("folder", "digest", "created_at", "articles", "window", "run_id", "row", "image_digest"):
        if facts[name] not in ("", None):
            lines.append(f"  {name.replace('_', ' ')}: {facts[name]}")
    parts = facts["data"]["parts"].items()
    lines += [f"  {name}: {part['relevant']} relevant, {part['not_relevant']} not relevant" for name, part in parts]
    lines += [f"  {name}: {value}" for name, value in (*facts["libraries"].items(), *facts["compute"].items())]
    lines.append(_metrics(facts["metrics"]))
    if points := facts["operating_points"]:
        rows = [[point["choice"], *(_interval(point[name]) for name in _FIGURES)] for point in points]
        lines.append(str(tabulate(rows, headers=["choice", *_FIGURES.values()], disable_numparse=True)))
    if facts["problem"]:
        lines.append(f"problem: {facts['problem']}")
    if facts["gate"]:
        lines.append(f"gate: {facts['gate']}")
    lines += [f"promotion: {_change(Selection.model_validate(change))}" for change in facts["promotions"]]
    lines += [f"warning: {warning}" for warning in facts["warnings"]]
    return "\n".join(lines)


def _metrics(metrics: dict[str, float]) -> str:
    rows = [[name, *(_number(metrics.get(f"{part}_{name}")) for part in ("val", "test"))] for name in NAMES]
    threshold = metrics.get("prob_threshold")
    head = f"at threshold {threshold:g}" if threshold is not None else ""
    return str(tabulate(rows, headers=[head, "validation", "test"], disable_numparse=True))


def _change(change: Selection) -> str:
    why = f": {change.reason}" if change.reason else ""
    what = "rolled back to it" if change.action == "rollback" else "promoted it"
    return f"{change.at:%Y-%m-%d %H:%M} {change.by} {what}{why}"


def _interval(figure: dict[str, float]) -> str:
    """A figure with its 95 % interval."""
    value, low, high = (f"{figure[name]:.3g}" for name in ("value", "low", "high"))
    return value if low == high else f"{value} ({low} to {high})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
