"""What whole trainings begin with: an installation that has the demo's articles."""

import shutil
from pathlib import Path

import pytest

from tools.installation import Site


@pytest.fixture(scope="session")
def demo_database(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's articles and no run, on SQLite."""
    site = Site(tmp_path_factory.mktemp("demo"))
    shutil.copy(migrated_database, site.environment["SQLITE_FILE"])
    site.must("load_demo")
    return Path(site.environment["SQLITE_FILE"])


@pytest.fixture
def demo_site(site: Site, demo_database: Path) -> Site:
    """`site`, and the demo in it."""
    shutil.copy(demo_database, site.environment["SQLITE_FILE"])
    return site
