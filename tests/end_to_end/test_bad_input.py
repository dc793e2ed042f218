"""Bad rows, bad disks, bad neighbours: how a run ends when what it needs is missing, damaged, full or in use."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gregory.ml import artifacts, stages
from gregory.ml.config import SummariserConfig
from gregory.ml.data import Article, write_rows
from gregory.ml.load import load_model
from gregory.ml.progress import decode
from tests.end_to_end.articles import Row, labelled, store
from tests.site import REPOSITORY, Site
from tests.strict import need

pytestmark = pytest.mark.slow

NO_LABEL = "no labelled article in the data window; label some, or widen the window with --lookback-days N or --all-articles"
REMEDY = "run: python manage.py prepare_base_models --demo (or copy a prepared bundle there)"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path) -> Site:
    """An installation with one good subject, for commands that must refuse before they write anything."""
    site = Site(tmp_path_factory.mktemp("ready") / "site", environment={"GREGORY_BASE_MODELS": str(small_bundle)})
    site.must("migrate", "-v0")
    store(site, labelled(40, first=1), subject="good")
    return site


def refused(site: Site, message: str, **environment: str) -> None:
    """The command ends with 1 and one line, and leaves neither rows nor folders."""
    done = site.manage("train_models", "--team", "t", "--algo", "lgbm_tfidf", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"CommandError: {message}\n")
    with sqlite3.connect(site.folder / "db.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM gregory_predictionrunlog").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM gregory_runs_trainingrun").fetchone() == (0,)
    assert not list(site.models.glob("[!f]*"))


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own in `folder` for the time of the block."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    need(
        done.returncode == 0,
        what=f"the right to mount a file system ({done.stderr.strip()})",
        remedy="run the tests as root, in a container with --cap-add SYS_ADMIN",
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Leave not a byte."""
    space = os.statvfs(folder)
    (folder / "filler").write_bytes(b"\0" * space.f_bavail * space.f_frsize)


def test_labels_that_cannot_be_split_fail_every_row_with_the_reason(site: Site):
    store(site, [Row(1, "A title", "Words.", "")], subject="unreviewed")
    store(site, [Row(number, f"Title {number}", "Words.", "1") for number in range(10, 30)], subject="one-class")
    store(site, labelled(3, first=31), subject="three")
    store(site, [Row(number, "The same", "Words.", str(number % 2)) for number in range(40, 50)], subject="contradictory")

    done = site.manage("train_models", "--team", "t", "--algo", "lstm,lgbm_tfidf")

    assert (done.returncode, done.stderr) == (1, "CommandError: 8 of 8 trainings failed\n")
    assert "Finished" not in done.stdout
    rows = site.rows()
    too_few = "a stratified 70/15/15 split needs at least 3 articles of each class, there are {} relevant and {} not relevant; label more, "
    widen = "or widen the window with --lookback-days N or --all-articles"
    messages = {
        "contradictory": NO_LABEL,
        "one-class": too_few.format(20, 0) + widen,
        "three": too_few.format(2, 1) + widen,
        "unreviewed": NO_LABEL,
    }
    assert [(row["subject"], row["algorithm"]) for row in rows] == [(name, algo) for name in messages for algo in ("lstm", "lgbm_tfidf")]
    for row in rows:
        assert (row["success"], row["finished"], row["reason"], row["state"]) == (False, True, "bad_data", "failed")
        assert row["error"].startswith("Traceback (most recent call last):\n")
        assert row["error"].endswith(f"\ngregory.ml.errors.StratificationError: {messages[row['subject']]}\n")
        assert f"/{row['algorithm']}: Failed version {row['version']}: {messages[row['subject']]}\n" in done.stdout
    assert not list(site.models.glob("[!.]*"))


def test_odd_articles_train_like_others(site: Site):
    odd = [
        Row(101, "Title alone", "", "1"),
        Row(102, "Nothing at all", "", "0"),
        Row(103, "A zero byte", "Before and after.", "1"),
        Row(104, "Five megabytes of words", "word " * 1_000_000, "0"),
        Row(105, "Five megabytes in one word", "w" * 5_000_000, "1"),
        Row(106, "Five megabytes of mark-up", "<a " * 1_700_000, "0"),
        Row(107, "An old one", "Discovered long ago.", "1", (datetime.now(UTC) - timedelta(days=91)).isoformat()),
    ]
    store(site, [*labelled(40, first=1), *odd], subject="odd")
    slug = "Größenwahn-神経-" + "ß" * 46
    site.run_code(
        "from django.db import connection\n"
        "with connection.cursor() as cursor:\n"
        "    cursor.execute('UPDATE articles SET summary = NULL WHERE article_id = 102')\n"
        "    cursor.execute(\"UPDATE articles SET summary = 'Before' || char(0) || 'after.' WHERE article_id = 103\")\n"
        f"    cursor.execute('UPDATE subjects SET subject_slug = %s', [{slug!r}])\n"
    )
    before = datetime.now(UTC)

    done = site.manage("train_models", "--team", "t", "--subject", slug, "--algo", "lgbm_tfidf,lstm")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(slug) == 60
    rows = site.rows()
    assert [(row["subject"], row["success"], row["state"]) for row in rows] == [(slug, True, "succeeded")] * 2
    for row in rows:
        assert row["artifact"] == f"t/{slug}/{row['algorithm']}/{row['version']}"
        manifest = artifacts.read_manifest(site.models / row["artifact"])
        assert (manifest.data.labelled, manifest.data.title_only) == (46, 2)
        assert before <= manifest.data.cutoff + timedelta(days=90) <= datetime.now(UTC)
        assert load_model(site.models / row["artifact"]).predict_proba(["myelin", ""]).shape == (2,)


@pytest.mark.parametrize(
    ("options", "prepare", "reason"), [("ro", lambda folder: None, "Read-only file system"), ("size=64k", fill, "No space left on device")]
)
def test_a_models_folder_that_takes_no_files(ready: Site, options: str, prepare: Callable[[Path], None], reason: str):
    with mounted(ready.models, options):
        prepare(ready.models)
        refused(ready, f"the models folder {ready.models} takes no files: {reason}; free space or correct its permissions")


def test_a_missing_bundle(ready: Site, tmp_path: Path):
    missing = tmp_path / "none"
    refused(ready, f"there is no base-model bundle: the folder {missing} does not exist; {REMEDY}", GREGORY_BASE_MODELS=str(missing))


def test_a_damaged_bundle(ready: Site, small_bundle: Path, tmp_path: Path):
    damaged = tmp_path / "bundle"
    shutil.copytree(small_bundle, damaged)
    settings = damaged / "summariser" / "summariser.json"
    settings.write_bytes(settings.read_bytes().replace(b"60", b"61"))
    done = ready.manage("train_models", "--team", "t", GREGORY_BASE_MODELS=str(damaged))
    assert done.stderr.startswith(f"CommandError: {settings} has sha256 ")
    refused(ready, done.stderr.removeprefix("CommandError: ").rstrip("\n"), GREGORY_BASE_MODELS=str(damaged))
    assert done.stderr.endswith(f"; {REMEDY}\n")


def test_a_hyperparameter_file_with_a_typo(ready: Site, tmp_path: Path):
    overrides = tmp_path / "hyperparameters.yaml"
    overrides.write_text("lgbm: {round: 5}\n")
    message = f"hyper-parameter file {overrides}: lgbm.round: Extra inputs are not permitted (got 5)"
    refused(ready, message, GREGORY_HYPERPARAMETERS=str(overrides))


def test_a_disk_that_fills_up_during_training(ready: Site):
    # What goes into the run's folder before the model fits, the model and its report do not.
    with mounted(ready.models, "size=96k"):
        done = ready.manage("train_models", "--team", "t", "--algo", "lgbm_tfidf")
        left = sorted(str(path.relative_to(ready.models)) for path in ready.models.rglob("*"))

    (row,) = ready.rows()
    print(done, row, left)
    assert (done.returncode, done.stderr) == (1, "CommandError: 1 of 1 trainings failed\n")
    assert (row["success"], row["finished"], row["state"]) == (False, True, "failed")
    assert "No space left on device" in row["error"].splitlines()[-1]
    assert [path for path in left if not path.startswith(".runs")] == []
