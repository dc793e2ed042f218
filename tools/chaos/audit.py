"""Reads the audit log of the API server: every request that made or deleted a Job. Pure."""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from tools.chaos.records import Request

NAME = re.compile(r"gregory-train-(?P<run_id>[0-9a-z]+)-a(?P<attempt>\d+)")


def requests(lines: Iterable[str], *, namespace: str) -> Iterator[Request]:
    """The requests for Jobs of runs. A dry run, and a line that was cut by the end of the server, are left out."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        target = event.get("objectRef") or {}
        named = NAME.fullmatch(target.get("name") or "")
        if named is None or target.get("namespace") != namespace or "dryRun" in event.get("requestURI", ""):
            continue
        user = event["user"]["username"]
        yield Request(
            verb=event["verb"],
            run_id=named["run_id"],
            attempt=int(named["attempt"]),
            code=(event.get("responseStatus") or {}).get("code", 0),
            by_product=user.startswith(f"system:serviceaccount:{namespace}:"),
            at=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        )
