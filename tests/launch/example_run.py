"""An example specification of a run, for tests of runners."""

from gregory.ml.config import TrainConfig
from gregory.runs.spec import RunSpec, Scope, TrainSpec, Window


def example_spec() -> RunSpec:
    """First attempt of run `0123456789ab`, without algorithms."""
    return TrainSpec(
        run_id="0123456789ab",
        attempt_token="token",
        team=Scope(id=1, slug="team"),
        subject=Scope(id=2, slug="subject"),
        algorithms=(),
        config=TrainConfig(),
        window=Window(cutoff=None, description="all articles"),
    )


def at_once() -> bool:
    """For the parameter `waiting` of a runner: the runner alone decides when the run has ended."""
    return True
