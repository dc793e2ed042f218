"""Single figures of benchmarks: the peak of the whole batch, and the number of runs at once of a demo."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bert_memory, demo
from benchmarks.releases import Installation
from tools.installation import REPOSITORY


def test_the_peak_of_the_whole_batch_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def in_a_process(size: str, rows: int, threads: int, weights_to: Path | None = None) -> int:
        if weights_to:
            np.savez(weights_to, np.zeros(1))
        return rows * 100 * 2**20

    monkeypatch.setattr(bert_memory, "in_a_process", in_a_process)
    monkeypatch.setattr(sys, "argv", ["bert_memory", "--rows", "4"])

    bert_memory.main()

    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"\| \d+ (?=\| [^|]+ \|$)", "| ? ", line) for line in lines[2:4]] == [
        "| 16 | 1600 | ? | - |",
        "| 4 | 400 | ? | 0.0e+00 |",
    ]
    assert '"baseline": "16 at once", "median": 4.0' in lines[4]


def test_a_demo_has_the_named_number_of_runs_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = set()

    def manage(installation: Installation, *arguments: str) -> None:
        found.add(installation.variables["GREGORY_LOCAL_RUNS"])

    monkeypatch.setattr(Installation, "manage", manage)

    demo.seconds(REPOSITORY, tmp_path, {}, at_once=1)

    assert found == {"1"}


def test_the_default_is_that_of_make_demo():
    assert f"GREGORY_LOCAL_RUNS={demo.AT_ONCE} " in (REPOSITORY / "Makefile").read_text()
