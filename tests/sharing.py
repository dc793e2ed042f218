"""The engine that a test needs, and the tests that pytest-xdist gives to one worker."""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# A machine has one engine of each kind. The values are markers.
FOLDERS = {
    "tests/docker/": "docker",
    "tests/cluster/": "cluster",
    "tests/kubernetes/": "cluster",
    "tests/chart/": "cluster",
    "tests/chaos/test_chaos.py": "cluster",
}
# The contract of the runners has the runner as a parameter.
CONTRACT = "tests/launch/test_runner_contract.py"
PARAMETERS = {"docker": "docker", "kubernetes": "cluster"}

# These need the program helm, and no cluster.
WITH_HELM_ALONE = ("tests/chart/test_chart.py", "tests/chart/test_made.py")
# Modules that take longest, in the order in which they start.
LONGEST_FIRST = (
    "tests/end_to_end/test_kill_points.py", "tests/live/test_failover.py", "tests/docs/test_readme_commands.py", "tests/preparation/",
    "tests/end_to_end/", "tests/ml/test_checkpoint.py", "tests/live/", "tests/ml/",
)  # fmt: skip


def engine(test: str) -> str | None:
    """The marker of the engine that the test with this id needs."""
    path, _, name = test.partition("::")
    if path == CONTRACT:
        parameters = name.partition("[")[2].rstrip("]").split("-")
        return next((PARAMETERS[word] for word in parameters if word in PARAMETERS), None)
    return next((marker for prefix, marker in FOLDERS.items() if path.startswith(prefix)), None)


def scope(test: str) -> str:
    """Tests with the same value run in one worker: those of an engine, or else those of a module."""
    path = test.partition("::")[0]
    return path if path in WITH_HELM_ALONE else engine(test) or path


def start_order(test: str) -> int:
    """Engines start first, then the longest modules."""
    if scope(test) == engine(test):
        return -1
    return next((number for number, prefix in enumerate(LONGEST_FIRST) if test.startswith(prefix)), len(LONGEST_FIRST))


class Sharing(LoadScopeScheduling):
    """Scopes by `scope`. The groups of pytest-xdist need a changed test id, which this pytest drops."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker its next scope when it has one test left. It must know the next test before it runs that one.

        pytest-xdist gives it with two tests left. Another worker may be free before these end.
        """
        if node.shutting_down or not self.workqueue or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)
