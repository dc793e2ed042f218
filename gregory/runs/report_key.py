"""The key of an attempt, and the digest with which it signs its outcome report.

Each start of `python -m job` makes a key. Only that process and the run's row have it. So a report with the right digest comes from
the process that claimed the run. No Django.
"""

import hmac
import json
import secrets

from gregory.runs.spec import AlgorithmOutcome, RunOutcome

# No row of GregoryAI has this id. A release without keys refuses unknown JSON fields, and skips an outcome of an unknown row.
SIGNATURE_ROW = 0


def new_key(attempt: int) -> str:
    """The attempt, a dot and 64 random hexadecimal digits. A later attempt cannot be taken for the owner of the key."""
    return f"{attempt}.{secrets.token_hex(32)}"


def is_of(key: str, attempt: int) -> bool:
    """Whether this attempt made the key. A release without keys leaves the key of an earlier attempt in the row."""
    return key.startswith(f"{attempt}.")


def sign(outcome: RunOutcome, key: str) -> RunOutcome:
    """The outcome with its digest, an entry for the row SIGNATURE_ROW."""
    entry = AlgorithmOutcome(algorithm="lstm", run_log_id=SIGNATURE_ROW, version="", success=False, digest=_digest(outcome, key))
    return outcome.model_copy(update={"algorithms": (*outcome.algorithms, entry)})


def verify(signed: RunOutcome, key: str) -> RunOutcome | None:
    """The outcome without its digest. None if the digest is missing, or is not that of this content and key."""
    outcome, digests = without_signature(signed), [entry.digest for entry in signed.algorithms if entry.run_log_id == SIGNATURE_ROW]
    right = len(digests) == 1 and hmac.compare_digest(digests[0].encode(), _digest(outcome, key).encode())
    return outcome if right else None


def without_signature(signed: RunOutcome) -> RunOutcome:
    """The outcome without its digest, which is not checked."""
    return signed.model_copy(update={"algorithms": tuple(entry for entry in signed.algorithms if entry.run_log_id != SIGNATURE_ROW)})


def _digest(outcome: RunOutcome, key: str) -> str:
    """HMAC-SHA256 of the content. Fields with their default are left out, so a later field does not change an earlier digest."""
    content = json.dumps(outcome.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), content.encode(), "sha256").hexdigest()
