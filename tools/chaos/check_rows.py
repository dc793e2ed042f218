"""Checks the rows of a run against its folders. Pure."""

import re
from collections.abc import Iterator

from tools.chaos import effects
from tools.chaos.records import Evidence, Folder, Row, Run

# Words that the message of a failed row must have, for the reason.
MESSAGES = {
    "killed": r"killed|signal|exit code 137",
    "deleted": r"delet|no longer exists",
    "cancelled": r"cancelled by \S+",
    "evicted": r"evict|rejected by its node",
    "interrupted": r"\S",
    "node_lost": r"node",
}


def of(evidence: Evidence, run: Run) -> Iterator[str]:
    """Violations of the rows, and of the version folders."""
    if sorted(row.algorithm for row in evidence.rows) != sorted(evidence.script.algorithms):
        yield f"rows of {sorted(row.algorithm for row in evidence.rows)}"
    if run.is_final and (run.state == "succeeded") != all(row.success for row in evidence.rows):
        yield f"the run {run.state}, its rows: {[row.success for row in evidence.rows]}"
    by_path = {folder.path: folder for folder in evidence.folders}
    for row in evidence.rows:
        path = f"{run.label}/{row.algorithm}/{row.version}"
        folder = by_path.pop(path, None)
        if row.success is None:
            yield f"row of {row.algorithm} is open at the end"
        elif row.success:
            yield from _succeeded(row, folder, path)
        else:
            yield from _failed(row, run, folder, evidence)
    for path in by_path:
        yield f"folder {path} has no row"


def _succeeded(row: Row, folder: Folder | None, path: str) -> Iterator[str]:
    if folder is None or not folder.complete:
        yield f"row of {row.algorithm} has success True, and its complete model is not there"
        return
    if folder.row_id != row.id:
        yield f"row {row.id} of {row.algorithm} succeeded, and its folder is of row {folder.row_id}"
    if row.path != path:
        yield f"row of {row.algorithm} has the folder {row.path!r}, and its model is in {path}"
    if row.digest != folder.digest:
        yield f"row of {row.algorithm} has the digest {row.digest!r}, its manifest {folder.digest!r}"
    if row.metrics != folder.metrics:
        yield f"row of {row.algorithm} has the metrics {row.metrics}, its folder {folder.metrics}"
    if row.error or row.reason:
        yield f"row of {row.algorithm} succeeded with {row.reason or 'no reason'} and the message {row.error!r:.200}"


def _failed(row: Row, run: Run, folder: Folder | None, evidence: Evidence) -> Iterator[str]:
    if folder is not None:
        yield f"row of {row.algorithm} has success False, and its complete model is there"
    if row.path or row.digest or row.metrics:
        yield f"row of {row.algorithm} failed with folder {row.path!r}, digest {row.digest!r} and metrics {row.metrics}"
    permitted = {run.reason, *(rule.reason for rule in effects.expected(evidence.strikes))}
    if row.reason not in permitted or not row.reason:
        yield f"row of {row.algorithm} failed for {row.reason or 'no reason'}, its run for {run.reason or 'no reason'}"
    if not re.search(MESSAGES.get(row.reason, r"\S"), row.error or "", re.IGNORECASE):
        yield f"row of {row.algorithm} failed for {row.reason} with the message {row.error!r:.300}"
