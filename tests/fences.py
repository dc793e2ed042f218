"""Fences that a test takes for a run."""

from pathlib import Path

from gregory.runs.spec import RunSpec
from job.fence import Fence


def taken(models: Path, spec: RunSpec) -> Fence:
    """The fence of the run, for the start that has it."""
    fence = Fence(models, spec)
    assert fence.take(lambda: False)
    return fence
