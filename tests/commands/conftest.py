"""Commands as a shell calls them, and the subjects that they act on."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import ManagementUtility
from django.db import connections

from gregory.launch.registry import RUNNERS
from gregory.management import polling
from tests.commands.command_line import INSTANT, NOW, Result, Shell
from tests.database_rows import label_articles, make_subject, make_team
from tests.reconcile import pretend_cluster
from tests.reconcile.pretend_cluster import PretendCluster


@pytest.fixture
def feed() -> None:
    """Two teams with subjects that can be trained, one team without."""
    for slug, subjects in {"neurology": ("ms", "als"), "oncology": ("lung",), "idle": ()}.items():
        team = make_team(slug)
        for subject in subjects:
            label_articles(make_subject(team, subject))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The models folder. It does not exist yet."""
    return tmp_path / "models"


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Call a command as a shell does."""
    # argparse wraps its usage at the width of the terminal.
    monkeypatch.setenv("COLUMNS", "80")
    # A second setup would close every log handler. The handler of absl also closes the stderr of pytest.
    monkeypatch.setattr("django.setup", lambda: None)
    # A command closes its connections at its end. Here they hold the transaction of the test.
    monkeypatch.setattr(connections, "close_all", lambda: None)

    def shell(*argv: str) -> Result:
        code: Any = 0
        try:
            ManagementUtility(["manage.py", *argv]).execute()
        except SystemExit as end:
            code = end.code
        return Result(code, *capsys.readouterr())

    return shell


@pytest.fixture
def run(shell: Shell, models: Path, small_bundle: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Call train_models with NOW as the current time. `--runner instant` is InstantRunner."""
    settings.MODELS_DIR = models
    settings.BASE_MODELS_DIR = small_bundle
    settings.RUNNER = "local"
    monkeypatch.setitem(RUNNERS, "instant", INSTANT)
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    return partial(shell, "train_models")


@pytest.fixture
def cluster(models: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, feed: None) -> PretendCluster:
    """The back end of `--runner pretend`, and the subjects of `feed`."""
    settings.MODELS_DIR = models
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.001)
    cluster = PretendCluster()
    monkeypatch.setattr(pretend_cluster, "CLUSTER", cluster, raising=False)
    monkeypatch.setitem(RUNNERS, "pretend", f"{pretend_cluster.__name__}:CLUSTER")
    return cluster
