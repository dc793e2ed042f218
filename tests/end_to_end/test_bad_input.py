"""The end of a run if its data, disk, base models, database or subject is missing, damaged, full or in use."""

import hashlib
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from gregory.ml import artifacts
from gregory.ml.config import SummariserConfig
from gregory.ml.dataset import Article, write_articles
from gregory.ml.progress import silent
from gregory.ml.stages import contract
from gregory.runs.reasons import Reason
from gregory.shutdown import ShutdownRequest
from job.supervise import StageFailed, run_stage
from tests.articles import Row, labelled, store
from tests.file_systems import bound, fill, tmpfs
from tests.tiny_bundle import describe
from tools.installation import REPOSITORY, Installation

NO_LABEL = "no labelled article in the data window; label some, or widen the window with --lookback-days N or --all-articles"
REMEDY = "run: python manage.py prepare_base_models (with --demo for the small bundle; or copy a prepared one there)"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path) -> Installation:
    """An installation with one good subject."""
    installation = Installation(tmp_path_factory.mktemp("ready") / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle)})
    installation.must("migrate", "-v0")
    store(installation, labelled(40, first=1), subject="good")
    return installation


def refused(installation: Installation, message: str, *, algo: str = "lgbm_tfidf", **environment: str) -> None:
    """The command exits with 1, prints one line, and writes neither rows nor folders."""
    before = traces(installation)
    done = installation.manage("train_models", "--team", "t", "--subject", "good", "--algo", algo, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"CommandError: {message}\n")
    assert traces(installation) == before


def traces(installation: Installation) -> tuple[list[Any], list[Path]]:
    """The rows and the folders of all runs."""
    tables = ("gregory_predictionrunlog", "gregory_runs_trainingrun")
    return [row for table in tables for row in query(installation, f"SELECT * FROM {table}")], sorted(installation.models.rglob("*"))


def query(installation: Installation, statement: str) -> list[Any]:
    """Read the SQLite file without Django."""
    with closing(sqlite3.connect(installation.folder / "db.sqlite3")) as database:
        return database.execute(statement).fetchall()


def too_few(counts: str) -> str:
    """The error message for too few labels."""
    return (
        "a stratified 70/15/15 split needs both classes in every part: 6 articles of each class are always enough, "
        f"there are {counts}; label more, or widen the window with --lookback-days N or --all-articles"
    )


@pytest.mark.parametrize("subjects", [("contradictory", "four"), pytest.param(("five", "unreviewed"), marks=pytest.mark.slow)])
def test_labels_that_cannot_be_split_fail_every_row_with_the_reason(installation: Installation, subjects: tuple[str, ...]):
    articles = {
        "contradictory": [Row(number, "The same", "Words.", str(number % 2)) for number in range(40, 60)],
        "five": [Row(number, f"Title {number}", "Words.", str(int(number < 105))) for number in range(100, 140)],
        "four": [Row(number, f"Title {number}", "Words.", str(int(number < 204))) for number in range(200, 230)],
        "unreviewed": [Row(1, "A title", "Words.", "")],
    }
    for subject in subjects:
        store(installation, articles[subject], subject=subject)

    done = installation.manage("train_models", "--team", "t", "--algo", "lstm,lgbm_tfidf")

    assert (done.returncode, done.stderr) == (1, "CommandError: 4 of 4 trainings failed\n")
    assert "Finished" not in done.stdout
    rows = installation.rows()
    messages = {
        "contradictory": too_few("0 relevant and 0 not relevant after 0 repeated and 20 contradictory texts were left out"),
        "five": too_few("5 relevant and 35 not relevant"),
        "four": too_few("4 relevant and 26 not relevant"),
        "unreviewed": NO_LABEL,
    }
    assert [(row["subject"], row["algorithm"]) for row in rows] == [(name, algo) for name in subjects for algo in ("lstm", "lgbm_tfidf")]
    for row in rows:
        assert (row["success"], row["finished"], row["reason"], row["state"]) == (False, True, "bad_data", "failed")
        assert row["error"].startswith("Traceback (most recent call last):\n")
        assert row["error"].endswith(f"\ngregory.ml.errors.StratificationError: {messages[row['subject']]}\n")
        assert f": {messages[row['subject']]}\n" in done.stdout
    assert not list(installation.models.glob("*/*/[!.]*"))
    # Nothing was summarised.
    assert not list(installation.models.rglob("summaries.jsonl"))


@pytest.mark.parametrize("algorithm", ["lgbm_tfidf", pytest.param("lstm", marks=pytest.mark.slow)])
def test_odd_articles_train_like_others(installation: Installation, algorithm: str):
    odd = [
        Row(101, "Title alone", "", "1"),
        Row(102, "Nothing at all", "", "0"),
        Row(103, "A zero byte", "Before and after.", "1"),
        Row(104, "Five megabytes of words", "word " * 1_000_000, "0"),
        Row(105, "Five megabytes in one word", "w" * 5_000_000, "1"),
        Row(106, "Five megabytes of mark-up", "<a " * 1_700_000, "0"),
        Row(107, "An old one", "Discovered long ago.", "1", (datetime.now(UTC) - timedelta(days=91)).isoformat()),
    ]
    store(installation, [*labelled(40, first=1), *odd], subject="odd")
    slug = "Größenwahn-神経-" + "ß" * 46
    installation.run_code(
        "from django.db import connection\n"
        "with connection.cursor() as cursor:\n"
        "    cursor.execute('UPDATE articles SET summary = NULL WHERE article_id = 102')\n"
        "    cursor.execute(\"UPDATE articles SET summary = 'Before' || char(0) || 'after.' WHERE article_id = 103\")\n"
        f"    cursor.execute('UPDATE subjects SET subject_slug = %s', [{slug!r}])\n"
    )
    before = datetime.now(UTC)

    done = installation.manage("train_models", "--team", "t", "--subject", slug, "--algo", algorithm)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(slug) == 60
    (row,) = installation.rows()
    assert (row["subject"], row["success"], row["state"]) == (slug, True, "succeeded")
    assert row["artifact"] == f"t/{slug}/{algorithm}/{row['version']}"
    manifest = artifacts.read_manifest(installation.models / row["artifact"])
    assert (manifest.data.labelled, manifest.data.title_only) == (46, 2)
    assert before <= manifest.data.cutoff + timedelta(days=90) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("options", "prepare", "cause"),
    [
        ("ro", lambda folder: None, "Read-only file system; mount it read-write"),
        ("size=64k", fill, "No space left on device; free space"),
    ],
)
@pytest.mark.root
def test_a_models_folder_without_write_access(ready: Installation, options: str, prepare: Callable[[Path], None], cause: str):
    with tmpfs(ready.models, options):
        prepare(ready.models)
        refused(ready, f"the models folder {ready.models} cannot take a model: {cause}")


@pytest.mark.root
def test_an_algorithm_that_is_a_mount_of_its_own(ready: Installation, tmp_path: Path):
    place = ready.models / "t" / "good" / "lgbm_tfidf"
    place.mkdir(parents=True)
    with bound(tmp_path, place):
        refused(
            ready,
            f"lgbm_tfidf of t/good could not be published: the folder {place} cannot take a model: Invalid cross-device link; a model is "
            "renamed into it, which is impossible between two mounts: keep the folder of a subject on one mount, without links to others",
        )
    shutil.rmtree(ready.models / "t")


def test_a_missing_bundle(ready: Installation, tmp_path: Path):
    missing = tmp_path / "none"
    refused(ready, f"there is no base-model bundle: the folder {missing} does not exist; {REMEDY}", GREGORY_BASE_MODELS=str(missing))


def test_another_bundle_than_the_required_one(ready: Installation, small_bundle: Path):
    found = hashlib.sha256((small_bundle / "bundle.json").read_bytes()).hexdigest()
    message = (
        f"{small_bundle / 'bundle.json'} has sha256 {found} and GREGORY_BASE_MODELS_DIGEST requires {'0' * 64}: it is another bundle; "
        "use the required bundle, or correct the digest"
    )
    refused(ready, message, GREGORY_BASE_MODELS_DIGEST="0" * 64)


def test_a_damaged_bundle(ready: Installation, small_bundle: Path, tmp_path: Path):
    damaged = tmp_path / "bundle"
    shutil.copytree(small_bundle, damaged)
    settings = damaged / "summariser" / "summariser.json"
    settings.write_bytes(settings.read_bytes().replace(b"60", b"61"))
    done = ready.manage("train_models", "--team", "t", GREGORY_BASE_MODELS=str(damaged))
    assert done.stderr.startswith(f"CommandError: {settings} has sha256 ")
    refused(ready, done.stderr.removeprefix("CommandError: ").rstrip("\n"), GREGORY_BASE_MODELS=str(damaged))
    assert done.stderr.endswith(f"; {REMEDY}\n")


def test_a_hyperparameter_file_with_a_typo(ready: Installation, tmp_path: Path):
    overrides = tmp_path / "hyperparameters.yaml"
    overrides.write_text("lgbm: {round: 5}\n")
    message = f"hyper-parameter file {overrides}: lgbm.round: Extra inputs are not permitted (got 5)"
    refused(ready, message, GREGORY_HYPERPARAMETERS=str(overrides))


def test_a_text_that_is_too_long_for_the_encoder(ready: Installation, small_bundle: Path, tmp_path: Path):
    short = tmp_path / "short"
    shutil.copytree(small_bundle, short)
    settings = json.loads((short / "encoder" / "config.json").read_text())
    (short / "encoder" / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 128}))
    describe(short)
    message = f"bert.max_length 400 exceeds the 128 positions of {short}/encoder; lower it"

    refused(ready, message, algo="pubmed_bert", GREGORY_BASE_MODELS=str(short))

    checked = ready.manage("preflight", "--only", "base-models", GREGORY_BASE_MODELS=str(short))
    assert checked.stdout == f"ERROR   base-models {message}\n"


@pytest.mark.parametrize("command", [("train_models", "--all-teams"), ("train_models", "--all-teams", "--dry-run")])
def test_an_unmigrated_database(tmp_path: Path, small_bundle: Path, command: tuple[str, ...]):
    installation = Installation(tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle)})
    done = installation.manage(*command)
    message = "the database cannot be used: no such table: subjects; check its settings, or run: python manage.py migrate"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"CommandError: {message}\n")


def test_a_database_that_refuses_connections(ready: Installation):
    # Nobody else can take this port, and it accepts no connection.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        refused(
            ready,
            f'the database cannot be used: connection failed: connection to server at "127.0.0.1", port {port} failed: Connection refused '
            "Is the server running on that host and accepting TCP/IP connections?; check its settings, or run: python manage.py migrate",
            POSTGRES_DB="gregory",
            POSTGRES_USER="gregory",
            POSTGRES_PASSWORD="secret",
            DB_HOST="127.0.0.1",
            DB_PORT=str(port),
        )


@pytest.mark.root
def test_a_disk_that_fills_up_during_training(ready: Installation):
    # The files before the training fit into the file system. The model and its report do not.
    with tmpfs(ready.models, "size=96k"):
        done = ready.manage("train_models", "--team", "t", "--subject", "good", "--algo", "lgbm_tfidf")
        left = [path.relative_to(ready.models).as_posix() for path in ready.models.glob("*/*/*")]

    row = ready.rows()[-1]
    hint = f"resume it with: python manage.py train_models --resume {row['run_id']}"
    assert (done.returncode, done.stderr) == (1, f"CommandError: 1 of 1 training failed; {hint}\n")
    assert re.search(r"/lgbm_tfidf: Failed version \w+: \[Errno 28\] No space left on device", done.stdout)
    assert (row["success"], row["finished"], row["reason"], row["state"]) == (False, True, "storage", "failed")
    assert row["error"].startswith("Traceback (most recent call last):\n")
    assert "OSError: [Errno 28] No space left on device" in row["error"].splitlines()[-1]
    assert left == ["t/good/.runs"]


@pytest.mark.root
def test_a_stage_without_disk_space_reports_its_error_through_its_pipe(small_bundle: Path, tmp_path: Path):
    with tmpfs(tmp_path, "size=256k"):
        source = tmp_path / "summarise" / "in"
        source.mkdir(parents=True)
        articles = [Article(article_id=number, title=f"Title {number}", abstract="Words.", label=number % 2) for number in range(12)]
        write_articles(source / contract.ARTICLES, articles)
        request = contract.SummariseRequest(bundle=small_bundle, config=SummariserConfig(), threads=1)
        (source / contract.REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
        fill(tmp_path)
        with pytest.raises(StageFailed) as caught:
            run_stage("summarise", tmp_path / "summarise", shutdown=ShutdownRequest(), overridden=ShutdownRequest(), report=silent)
    assert re.fullmatch(
        r"the file system refused every write in stage summarise after \d+ s, "
        r"at: failed: \[Errno 28\] No space left on device; peak memory \d+ MiB",
        str(caught.value),
    )
    assert caught.value.reason is Reason.STORAGE


OPEN_A_RUN = """
from datetime import timedelta
from django.conf import settings
from django.utils import timezone
from gregory.training import planning, request
from gregory.launch import processes
from gregory.ml.config import TrainConfig
from gregory.runs import store
wanted = request.TrainingRequest(
    team="t", subject="good", lookback_days=1, algorithms=("lstm", "lgbm_tfidf"), version=None, config=TrainConfig(), verbosity=1
)
(spec,) = planning.plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now() + timedelta(days=2), require_gpu=False)
print(store.open_run(spec, runner="local", handle=processes.handle_of(1), triggered_by="a test").model_dump_json())
"""


def test_a_run_that_cannot_write_its_log_ends(ready: Installation):
    spec = ready.run_code(OPEN_A_RUN)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "job"],
            cwd=REPOSITORY,
            env={**ready.environment, "GREGORY_RUN_SPEC": spec},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
        )
    assert (done.returncode, done.stderr) == (1, "")
    ended = [(row["success"], row["reason"], row["state"], row["exit_code"]) for row in ready.rows()[-2:]]
    assert ended == [(False, "bad_data", "failed", 1)] * 2


@pytest.mark.slow
def test_a_second_command_refuses_the_subject_in_training_and_trains_the_others(installation: Installation):
    store(installation, labelled(40, first=1), subject="busy")
    store(installation, labelled(40, first=101), subject="free")
    with installation.start("train_models", "--team", "t", "--subject", "busy", "--algo", "lgbm_tfidf") as first:
        run_id, queued_at, worker = held(installation)
        try:
            second = installation.manage("train_models", "--team", "t", "--algo", "lgbm_tfidf", "--verbose", "2")
            rows = installation.rows()
        finally:
            worker.resume()
        assert first.wait(600) == 0

    refusal = (
        f"t/busy has an unfinished run {run_id} (running since {queued_at[:16]} UTC); "
        "wait for its end; if it has terminated, run reconcile_runs --once"
    )
    assert (second.returncode, second.stderr) == (1, f"CommandError: {refusal}\n")
    assert refusal not in second.stdout
    assert [(row["subject"], row["success"], row["state"], row["run_id"] == run_id) for row in rows] == [
        ("busy", None, "running", True),
        ("free", True, "succeeded", False),
    ]
    assert [(row["subject"], row["success"], row["state"]) for row in installation.rows()] == [
        ("busy", True, "succeeded"),
        ("free", True, "succeeded"),
    ]


def held(installation: Installation) -> tuple[str, str, psutil.Process]:
    """Suspend the first worker of the only run, which holds no lock of the database. Returns run id, queue time, worker."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for run_id, queued_at, pid in query(
            installation, "SELECT run_id, queued_at, external_name FROM gregory_runs_trainingrun WHERE state = 'running'"
        ):
            for worker in psutil.Process(int(pid)).children():
                with suppress(psutil.NoSuchProcess):
                    worker.suspend()
                    if worker.status() == psutil.STATUS_STOPPED:
                        return run_id, queued_at, worker
        time.sleep(0.05)
    raise AssertionError("no worker was seen")
