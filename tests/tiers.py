"""The fast tier and the rest: markers for the needs of a test, and a summary of the tests that were left out.

`make test` runs the tests without a marker of REST. `make test-all` runs all tests.
"""

from collections import Counter
from collections.abc import Iterable

import pytest
from xdist.workermanage import WorkerController

from tests.sharing import engine

# In this order: a test counts for the first of its markers.
REST = ("docker", "cluster", "torch", "packages", "root", "slow", "postgres")
BY_FIXTURE = {"torch_python": "torch", "postgresql_server": "postgres"}
LEFT_OUT = pytest.StashKey[Counter[str]]()


def mark(item: pytest.Item) -> None:
    """Add the markers that follow from the folder and the fixtures of a test."""
    fixtures = getattr(item, "fixturenames", ())
    for marker in (engine(item.nodeid), *(marker for fixture, marker in BY_FIXTURE.items() if fixture in fixtures)):
        if marker:
            item.add_marker(marker)


def count(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Count tests that were deselected."""
    firsts = (next((marker for marker in REST if item.get_closest_marker(marker)), None) for item in items)
    config.stash.setdefault(LEFT_OUT, Counter()).update(marker for marker in firsts if marker)


def send(config: pytest.Config) -> None:
    """Give the counts of a pytest-xdist worker to the main process."""
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = dict(config.stash.get(LEFT_OUT, {}))


def receive(node: WorkerController) -> None:
    """Take the counts of a worker. All workers have the same."""
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def descriptions(config: pytest.Config) -> dict[str, str]:
    """The description of each marker in pyproject.toml."""
    return {name: text.strip() for name, _, text in (line.partition(":") for line in config.getini("markers"))}


def summary(config: pytest.Config) -> list[str]:
    """One line per marker with the number of tests that were left out, or nothing.

    Only an expression like `not docker` leaves tests out. `make test-rest` and a choice by name select the tests that they want.
    """
    if not config.option.markexpr.startswith("not "):
        return []
    left_out, texts = config.stash.get(LEFT_OUT, Counter()), descriptions(config)
    lines = [f"  {marker:8} {left_out[marker]:4}  {texts[marker]}" for marker in REST if left_out[marker]]
    return ["make test-all adds:", *lines] if lines else []
