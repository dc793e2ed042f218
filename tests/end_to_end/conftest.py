"""What whole trainings begin with: an installation that has the demo's articles."""

import shutil
from pathlib import Path

import pytest

from tools.installation import Installation


@pytest.fixture(scope="session")
def demo_database(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's articles and no run, on SQLite."""
    installation = Installation(tmp_path_factory.mktemp("demo"))
    shutil.copy(migrated_database, installation.environment["SQLITE_FILE"])
    installation.must("load_demo")
    return Path(installation.environment["SQLITE_FILE"])


@pytest.fixture
def demo_site(installation: Installation, demo_database: Path) -> Installation:
    """`site`, and the demo in it."""
    shutil.copy(demo_database, installation.environment["SQLITE_FILE"])
    return installation


@pytest.fixture
def long_bert(demo_site: Installation) -> Installation:
    """BERT trains for 400 epochs, long enough to be stopped in one. The other algorithms are quick."""
    demo_site.set_hyperparameters("bert: {epochs: 400, patience: 400}\nlstm: {epochs: 1}\n")
    return demo_site
