"""Recording what is seen, where that is asked for."""

from collections.abc import Callable, Iterator

import pytest

from gregory.launch.kubernetes import diagnose_job
from tests.kubernetes.recording import Recorder


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Keeps the last observation's objects under the name of their cause."""
    if not request.config.getoption("--record"):
        yield lambda cause: None
        return
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnose_job, "observe_job", recorder)
        yield recorder.keep
