"""The state of unfinished runs, for the script that renews the pages."""

from typing import Any

from django.http import HttpRequest, JsonResponse

from gregory.management.concurrent import situation
from gregory.runs import store
from gregory.runs.models import AlgorithmRun
from gregory.runs.states import RunState
from gregory.web import live_log, words
from gregory.web.scope import scope_of

# A page of a list has at most 50.
MOST_RUNS = 100


def progress(request: HttpRequest) -> JsonResponse:
    """The runs of the parameters `run`, by id: state in words, and progress of each algorithm. A run of another team is left out.

    The run of the parameter `log` also has the end of its log.
    """
    logged = request.GET.get("log", "")
    runs = scope_of(request).runs.filter(pk__in=request.GET.getlist("run")[:MOST_RUNS]).defer("log_tail")
    if not logged:
        runs = runs.defer("spec")
    found: dict[str, dict[str, Any]] = {
        run.run_id: {
            "words": situation(run),
            "look": words.LOOKS.get(RunState(run.state), "open"),
            "final": RunState(run.state).is_final,
            "algorithms": {},
            **({"log": live_log.tail(run)} if run.run_id == logged and not RunState(run.state).is_final else {}),
        }
        for run in runs
    }
    if found:
        for run_id, row, stage, reported in AlgorithmRun.objects.filter(run_id__in=found).values_list(
            "run_id", "run_log_id", "stage", "progress"
        ):
            found[run_id]["algorithms"][row] = {"stage": stage, **_told(stage, reported)}
    return JsonResponse({"runs": found})


def _told(stage: str, reported: object) -> dict[str, object]:
    """Percent and message of a stage. The report of a training that has ended is of its last stage."""
    told = words.mapping(reported) if stage != store.ENDED else {"fraction": 1.0}
    fraction = told.get("fraction")
    percent = round(100 * min(max(fraction, 0.0), 1.0)) if isinstance(fraction, int | float) else None
    return {"percent": percent, "message": str(told.get("message", ""))}
