"""The import of the libraries of a trainer."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.ml import registry


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A trainer with a module that records during its import if the collector is on."""
    (tmp_path / "watching_trainer.py").write_text("import gc\n\n\nclass Trainer:\n    collected = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.TRAINERS, "lstm", "watching_trainer:Trainer")
    yield "lstm"
    del sys.modules["watching_trainer"]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_during_an_import_and_restored_after_it(watching: str, enabled: bool):
    (gc.enable if enabled else gc.disable)()
    try:
        trainer = registry.trainer_class(watching)
        assert (trainer.collected, gc.isenabled()) == (False, enabled)
    finally:
        gc.enable()


def test_the_collector_is_restored_after_a_failed_import(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(registry.TRAINERS, "lstm", "no_such_library:Trainer")

    with pytest.raises(ModuleNotFoundError):
        registry.trainer_class("lstm")

    assert gc.isenabled()
