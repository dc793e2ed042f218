"""Tests that need the same engine, or the fixtures of one module, run in one worker. Each has the marker of its engine."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.sharing import scope, start_order
from tests.tiers import LEFT_OUT, descriptions, summary
from tools.installation import REPOSITORY


@pytest.mark.parametrize(
    ("test", "shared"),
    [
        ("tests/docker/test_images.py::TestSafety::test_one[cpu_image]", "docker"),
        ("tests/launch/test_runner_contract.py::test_one[docker]", "docker"),
        ("tests/launch/test_runner_contract.py::test_one[docker-code0]", "docker"),
        ("tests/launch/test_runner_contract.py::test_one[local]", "tests/launch/test_runner_contract.py"),
        ("tests/commands/test_preflight.py::test_one[docker]", "tests/commands/test_preflight.py"),
        ("tests/cluster/test_cluster.py::test_one", "cluster"),
        ("tests/launch/test_runner_contract.py::test_one[kubernetes]", "cluster"),
        ("tests/chart/test_release.py::test_one", "cluster"),
        ("tests/chart/test_chart.py::test_one", "tests/chart/test_chart.py"),
        ("tests/chaos/test_chaos.py::test_one", "cluster"),
        ("tests/chaos/test_script.py::test_one", "tests/chaos/test_script.py"),
        ("tests/test_sharing.py::test_one", "tests/test_sharing.py"),
    ],
)
def test_scope(test: str, shared: str):
    assert scope(test) == shared


def test_the_longest_modules_start_first():
    tests = ["tests/runs/test_store.py::a", "tests/end_to_end/test_killed.py::a", "tests/docker/test_images.py::a"]

    assert sorted(tests, key=start_order) == tests[::-1]


def test_the_summary_counts_the_tests_that_each_marker_leaves_out(pytestconfig: pytest.Config):
    modules = {
        "docker": "tests/docker/test_compose.py",
        "postgres": "tests/live/test_two_commands.py",
        "torch": "tests/preparation/test_summaries.py",
    }

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-m", f"not ({' or '.join(modules)})", *modules.values()],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip

    for marker in modules:
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"  {marker} "))
        assert int(line.split()[1]) > 0
        assert line.endswith(descriptions(pytestconfig)[marker])


@pytest.mark.parametrize(("expression", "lines"), [("not (docker or slow)", 2), ("docker or slow", 0), ("", 0)])
def test_only_an_expression_with_not_leaves_tests_out(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, expression: str, lines: int
):
    monkeypatch.setattr(pytestconfig.option, "markexpr", expression)
    monkeypatch.setitem(pytestconfig.stash, LEFT_OUT, Counter(postgres=33))

    assert len(summary(pytestconfig)) == lines
