"""`python -m tests.live.contenders ROUNDS`: two processes run the same command at the same time, in rounds.

A JSON object per round: what each of them said, and what stands in the database. Runs go to a pretended cluster and are ended between
the rounds.
"""

import json
import multiprocessing
import os
import sys
from collections import Counter
from io import StringIO
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import django

COMMAND = ("train_models", "--all-teams", "--all-articles", "--algo", "lgbm_tfidf,lstm", "--runner", "pretend")


def contend(rounds: int, together: Barrier, results: Connection) -> None:
    """One of the two processes."""
    from django.core.management import CommandError, call_command

    for _ in range(rounds):
        out, code, error = StringIO(), 0, ""
        together.wait()
        try:
            call_command(*COMMAND, stdout=out, stderr=out, no_color=True)
        except CommandError as refused:
            code, error = refused.returncode, str(refused)
        results.send({"code": code, "out": out.getvalue(), "error": error})


def state() -> dict[str, Any]:
    """Read the rows of a round, then end its runs."""
    from gregory.runs import store
    from gregory.runs.diagnosis import Diagnosis
    from gregory.runs.models import AlgorithmRun
    from gregory.runs.reasons import Reason
    from gregory.runs.spec import RunSpec
    from gregory.runs.states import RunState

    runs = [standing.run for standing in store.unfinished_runs()]
    rows = Counter(AlgorithmRun.objects.filter(run__in=runs).values_list("run_id", flat=True))
    left = {"subjects": sorted(run.subject_id for run in runs), "rows": sorted(rows.values()), "states": sorted(run.state for run in runs)}
    for run in runs:
        store.end_run(RunSpec.model_validate(run.spec), RunState.FAILED, Diagnosis(summary="the round is over", reason=Reason.LOST))
    return left


def main(rounds: int) -> None:
    """Fork both processes before the first connection. All three wait for each other before each round."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from gregory.launch.registry import RUNNERS

    RUNNERS["pretend"] = "tests.live.contenders:CLUSTER"
    context = multiprocessing.get_context("fork")
    together = context.Barrier(3)
    pipes = [context.Pipe() for _ in range(2)]
    both = [context.Process(target=contend, args=(rounds, together, theirs)) for _, theirs in pipes]
    for process in both:
        process.start()
    for _ in range(rounds):
        # No process starts the next round before all three have ended this one.
        together.wait()
        said = [ours.recv() for ours, _ in pipes]
        sys.stdout.write(json.dumps({"said": said, **state()}) + "\n")
    for process in both:
        process.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
else:
    from tests.reconcile.pretend_cluster import PretendCluster

    CLUSTER = PretendCluster()
