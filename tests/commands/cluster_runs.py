"""Runs on the pretended cluster, for the tests of commands."""

from gregory.launch.runner import Observation, Status
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED
from gregory.runs.models import TrainingRun
from gregory.runs.spec import AlgorithmOutcome, RunSpec
from gregory.runs.states import RunState
from tests.commands.command_line import METRICS
from tests.reconcile.pretend_cluster import handle_of

ON_CLUSTER = ("--runner", "pretend", "--algo", "lgbm_tfidf")
MS = ("--team", "neurology", "--subject", "ms", *ON_CLUSTER)
QUEUED = Observation(status=Status.PENDING, detail="0/1 nodes are available: 1 Insufficient nvidia.com/gpu")


def spec_now() -> RunSpec:
    return RunSpec.model_validate(TrainingRun.objects.get().spec)


def begin() -> None:
    spec = spec_now()
    assert store.claim(spec, handle_of(spec), image_digest="", node="node-1")


def succeed() -> None:
    spec = spec_now()
    for algorithm in spec.algorithms:
        assert store.close_algorithm(spec, AlgorithmOutcome(**algorithm.model_dump(), success=True, metrics=METRICS))
    assert store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)
