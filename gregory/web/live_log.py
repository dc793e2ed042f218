"""The end of the log of an unfinished run, from its back end."""

import threading
import time
from contextlib import suppress

from django.conf import settings

from gregory.launch.errors import LaunchError
from gregory.management.run_logs import readable
from gregory.management.runners import runner_named
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.web.scope import is_linked

# Any number of browsers costs one request to the back end in this time.
FRESH_SECONDS = 4.0
# Of a run that no browser shows any more.
_KEPT_SECONDS = 60.0
# A back end that does not answer stops one request, and not all threads of the server.
_asking = threading.Lock()
_known: dict[str, tuple[float, str]] = {}


def tail(run: TrainingRun) -> str:
    """Its last lines, at most FRESH_SECONDS old. Empty if there is no log, or if another request is asking a back end for its first one."""
    at, text = _known.get(run.run_id, (-FRESH_SECONDS, ""))
    if time.monotonic() - at < FRESH_SECONDS or not _asking.acquire(blocking=False):
        return text
    try:
        text = _read(run)
        now = time.monotonic()
        for old in [run_id for run_id, (at, _) in _known.items() if now - at > _KEPT_SECONDS]:
            del _known[old]
        _known[run.run_id] = (now, text)
    finally:
        _asking.release()
    return text


def _read(run: TrainingRun) -> str:
    attempt = store.attempt_of(run)
    # A run could lead the page to a file of another team.
    if (run.submitted_at or run.started_at) and not is_linked(attempt.folder(settings.MODELS_DIR).path):
        # This machine may have no access to the back end.
        with suppress(LaunchError):
            return readable(runner_named(run.runner).log_tail(attempt))
    return ""
