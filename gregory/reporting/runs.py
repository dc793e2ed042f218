"""Runs as a table, as text and as JSON. Reads only the run store, no back end."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tabulate import tabulate

from gregory.output import one_line
from gregory.reporting import summary
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.store import TrainingRecord

_TIMES = ("queued_at", "submitted_at", "started_at", "heartbeat_at", "progress_at", "finished_at", "unknown_since", "missing_since")
_FACTS = ("runner", "host", "external_name", "external_uid", "node", "image_digest", "exit_code", "retries", "cancelled_by")
# Long enough for the cause of a wait in the words of Kueue.
_WHY_CHARACTERS = 160


def summaries(runs: Sequence[TrainingRun]) -> list[dict[str, Any]]:
    """A short dictionary per run; a fixed number of queries for any number of runs."""
    found = store.trainings([run.run_id for run in runs])
    return [_summary(run, found.get(run.run_id, [])) for run in runs]


def _summary(run: TrainingRun, trainings: Sequence[TrainingRecord]) -> dict[str, Any]:
    team, subject = store.slugs_of(run)
    return {
        "run_id": run.run_id,
        "team": team,
        "subject": subject,
        "kind": run.kind,
        "runner": run.runner,
        "state": run.state,
        "reason": run.reason,
        "attempt": run.attempt,
        "queued_at": _iso(run.queued_at),
        "finished_at": _iso(run.finished_at),
        "algorithms": [
            {"algorithm": training.algorithm, "version": training.version, "result": summary.result(training)} for training in trainings
        ],
        "waiting_for": run.waiting_for,
        "unknown_since": _iso(run.unknown_since),
        "detail": run.detail,
    }


def everything(run: TrainingRun, commands: Sequence[str]) -> dict[str, Any]:
    """All facts about one run as a dictionary. commands: the commands that inspect the run in its back end."""
    trainings = store.trainings([run.run_id], with_texts=True).get(run.run_id, [])
    events = [{"at": _iso(event.at), "kind": event.kind, "message": event.message} for event in run.events.all()]
    return {
        **_summary(run, trainings),
        **{name: getattr(run, name) for name in _FACTS},
        **{name: _iso(getattr(run, name)) for name in _TIMES},
        "window": store.window_of(run),
        "log_tail": run.log_tail,
        "algorithms": [_training(training) for training in trainings],
        "events": events,
        "commands": list(commands),
    }


def as_json(value: Any) -> str:
    """The value as JSON."""
    return json.dumps(value, indent=2)


def list_table(runs: Sequence[TrainingRun]) -> str:
    """A table with a line per run."""
    headers = ["run", "kind", "team/subject", "runner", "state", "attempt", "queued", "algorithms", "why"]
    return str(tabulate([_list_row(facts) for facts in summaries(runs)], headers=headers, disable_numparse=True))


def full_text(facts: dict[str, Any]) -> str:
    """All facts of `everything` as text, without empty values."""
    lines = [f"run {facts['run_id']} of {_label(facts)}: {facts['state']}"]
    heads = ("reason", "detail", "waiting_for", "attempt", "window", *_FACTS, *_TIMES)
    lines += [f"  {name.replace('_', ' ')}: {_indented(facts[name])}" for name in heads if facts[name] not in ("", None)]
    for row in facts["algorithms"]:
        deleted = "" if row["started"] else ", deleted by another program"
        lines.append(f"{row['algorithm']} {row['version']} (row {row['run_log_id']}{deleted}): {row['result']}")
        done = {name: row[name] or "" for name in ("stage", "artifact", "digest", "error")} | {"progress": _pairs(row["progress"])}
        done |= {"metrics": _pairs(row["metrics"]), "warnings": "\n".join(row["warnings"]), "compute": _pairs(row["compute"])}
        lines += [f"  {name}: {_indented(text)}" for name, text in done.items() if text]
    lines += [f"{event['at']} {event['kind']}: {_indented(event['message'])}" for event in facts["events"]]
    if facts["log_tail"]:
        lines.append(f"end of its log:\n  {_indented(facts['log_tail'])}")
    if facts["commands"]:
        lines.append("commands for its back end:")
        lines += [f"  {command}" for command in facts["commands"]]
    return "\n".join(lines)


def _training(training: TrainingRecord) -> dict[str, Any]:
    """All facts about one training. Those of a deleted row are None."""
    record, row = training.record, training.row
    return {
        "run_log_id": record.run_log_id,
        "algorithm": training.algorithm,
        "version": training.version,
        "result": summary.result(training),
        "success": row.success if row else None,
        "stage": record.stage,
        "progress": record.progress,
        "reason": record.reason,
        "error": row.error_message if row else None,
        "warnings": record.warnings,
        "metrics": record.metrics,
        "artifact": record.artifact_path,
        "digest": record.artifact_digest,
        "resources": record.resources,
        "data": record.data,
        "compute": record.compute,
        "started": _iso(row.run_started) if row else None,
        "finished": _iso(row.run_finished) if row else None,
        "triggered_by": row.triggered_by if row else None,
    }


def _list_row(facts: dict[str, Any]) -> list[str]:
    results = ", ".join(f"{row['algorithm']}: {row['result']}" for row in facts["algorithms"])
    why = facts["waiting_for"] or facts["detail"]
    if facts["unknown_since"]:
        why = "; ".join(part for part in (f"unknown since {facts['unknown_since'].replace('T', ' ')}", why) if part)
    state = f"{facts['state']} ({facts['reason']})" if facts["reason"] else facts["state"]
    queued = facts["queued_at"].replace("T", " ")
    return [
        facts["run_id"],
        facts["kind"],
        _label(facts),
        facts["runner"],
        state,
        str(facts["attempt"]),
        queued,
        results,
        one_line(why.partition("\n")[0])[:_WHY_CHARACTERS],
    ]


def _label(facts: dict[str, Any]) -> str:
    return one_line(f"{facts['team']}/{facts['subject']}")


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items())


def _indented(value: Any) -> str:
    return str(value).replace("\n", "\n  ")


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
