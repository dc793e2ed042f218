"""Reads the audit log of the API server: every request that made or deleted a Job, or with which Kueue suspended it. Pure."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from tools.chaos.records import Request, Suspension

NAME = re.compile(r"gregory-train-(?P<run_id>[0-9a-z]+)-a(?P<attempt>\d+)")


def requests(lines: Iterable[str], *, namespace: str) -> Iterator[Request]:
    """The requests for Jobs of runs. A dry run, and a line that was cut by the end of the server, are left out."""
    for event, named in _events(lines, namespace):
        if event["verb"] == "patch":
            continue
        user = event["user"]["username"]
        yield Request(
            verb=event["verb"],
            run_id=named["run_id"],
            attempt=int(named["attempt"]),
            code=(event.get("responseStatus") or {}).get("code", 0),
            by_product=user.startswith(f"system:serviceaccount:{namespace}:"),
            at=_time_of(event),
        )


def suspensions(lines: Iterable[str], *, namespace: str) -> list[Suspension]:
    """The times for which Kueue took back Jobs that it had released."""
    changes = defaultdict(list)
    for event, named in _events(lines, namespace):
        suspend = ((event.get("requestObject") or {}).get("spec") or {}).get("suspend")
        if event["verb"] == "patch" and suspend is not None and (event.get("responseStatus") or {}).get("code") == HTTPStatus.OK:
            changes[named["run_id"], int(named["attempt"])].append((_time_of(event), suspend))
    return [
        Suspension(run_id=run_id, attempt=attempt, began=began, ended=ended)
        for (run_id, attempt), all_changes in changes.items()
        for (began, suspend), (ended, _) in pairwise([*sorted(all_changes), (math.inf, False)])
        if suspend
    ]


def _events(lines: Iterable[str], namespace: str) -> Iterator[tuple[dict[str, Any], re.Match[str]]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        target = event.get("objectRef") or {}
        named = NAME.fullmatch(target.get("name") or "")
        if named is not None and target.get("namespace") == namespace and "dryRun" not in event.get("requestURI", ""):
            yield event, named


def _time_of(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
