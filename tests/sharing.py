"""The engine that a test needs, and the tests that pytest-xdist gives to one worker."""

from xdist.scheduler import LoadScopeScheduling

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

# Modules with the most processor time, in the order in which they start.
LONGEST_FIRST = ("tests/end_to_end/", "tests/ml/test_checkpoint.py", "tests/docs/test_readme_commands.py", "tests/live/", "tests/ml/")


def engine(test: str) -> str | None:
    """The marker of the engine that the test with this id needs."""
    path, _, name = test.partition("::")
    if path == CONTRACT:
        parameters = name.partition("[")[2].rstrip("]").split("-")
        return next((PARAMETERS[word] for word in parameters if word in PARAMETERS), None)
    return next((marker for prefix, marker in FOLDERS.items() if path.startswith(prefix)), None)


def scope(test: str) -> str:
    """Tests with the same value run in one worker: those of an engine, or else those of a module."""
    return engine(test) or test.partition("::")[0]


def start_order(test: str) -> int:
    """Engines start first, then the longest modules."""
    if engine(test):
        return -1
    return next((number for number, prefix in enumerate(LONGEST_FIRST) if test.startswith(prefix)), len(LONGEST_FIRST))


class Sharing(LoadScopeScheduling):
    """Scopes by `scope`. The groups of pytest-xdist need a changed test id, which this pytest drops."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)
