"""Installations with the articles of the demo feed."""

import shutil
from pathlib import Path

import pytest

from tools.installation import Installation


@pytest.fixture(scope="session")
def demo_database(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the articles of the demo feed and no run."""
    installation = Installation(tmp_path_factory.mktemp("demo"))
    shutil.copy(migrated_database, installation.environment["SQLITE_FILE"])
    installation.must("load_demo")
    return Path(installation.environment["SQLITE_FILE"])


@pytest.fixture
def demo_installation(installation: Installation, demo_database: Path) -> Installation:
    """A temporary installation with the articles of the demo feed, on SQLite."""
    shutil.copy(demo_database, installation.environment["SQLITE_FILE"])
    return installation


@pytest.fixture
def long_lstm(demo_installation: Installation) -> Installation:
    """The LSTM trains for 5000 epochs, long enough to be stopped in one."""
    demo_installation.set_hyperparameters("lstm: {epochs: 5000, patience: 5000}\n")
    return demo_installation


@pytest.fixture
def long_lgbm(demo_installation: Installation) -> Installation:
    """LightGBM trains without an end. It starts in a second, and TensorFlow in ten."""
    demo_installation.set_hyperparameters("lgbm: {rounds: 2000000000}\n")
    return demo_installation
