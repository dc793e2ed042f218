"""predict_articles: predictions of a local installation, and inputs that it refuses."""

import csv
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gregory.data.imports.read import ImportRow
from gregory.management import file_prediction
from tests.articles import Row, labelled, store
from tests.file_systems import tmpfs
from tools.installation import REPOSITORY, Installation

SUBJECT = ("--team", "t", "--subject", "good")
PREDICT = ("predict_articles", *SUBJECT, "--all-articles")
TRAIN = "python manage.py train_models --team t --subject good --algo"
# The job ends itself after the first batch, as with SIGKILL.
KILLED = """
import os, signal, sys
import django
django.setup()
from gregory.data import predictions
predictions.BATCH = 10
write, written = predictions.write, []

def once(*arguments, **options):
    if written:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(write(*arguments, **options))
    return written[0]

predictions.write = once
from job.__main__ import main
sys.exit(main())
"""
OPEN = """
from functools import partial
from django.conf import settings
from django.utils import timezone
from gregory.management.runners import runner_named
from gregory.runs import store
from gregory.training import prediction
from gregory.training.flags import PredictFlags
wanted = prediction.from_flags(PredictFlags(team="t", subject="good", all_articles=True))
planned = prediction.plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=False)
spec = store.open_run(planned.specs[0], runner="local", handle=runner_named("local").owner_handle(), triggered_by="a test")
print(spec.model_dump_json())
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path) -> Installation:
    """An installation with a model of LightGBM."""
    folder = tmp_path_factory.mktemp("trained") / "installation"
    installation = Installation(folder, environment={"GREGORY_BASE_MODELS": str(small_bundle)})
    installation.must("migrate", "-v0")
    store(installation, labelled(40, first=1), subject="good")
    installation.must("train_models", *SUBJECT, "--all-articles", "--algo", "lgbm_tfidf")
    return installation


@pytest.fixture
def ready(trained: Installation, tmp_path: Path) -> Installation:
    """A copy of it."""
    shutil.copytree(trained.folder, tmp_path / "installation")
    environment = {"GREGORY_BASE_MODELS": trained.environment["GREGORY_BASE_MODELS"]}
    return Installation(tmp_path / "installation", environment=environment)


def query(installation: Installation, statement: str) -> list[Any]:
    with closing(sqlite3.connect(installation.folder / "db.sqlite3")) as database:
        return database.execute(statement).fetchall()


def predictions(installation: Installation) -> int:
    ((rows, articles),) = query(installation, "SELECT count(*), count(DISTINCT article_id) FROM gregory_mlpredictions")
    assert rows == articles
    return int(rows)


def predict_rows(installation: Installation) -> list[Any]:
    columns = "algorithm, success, error_message"
    return query(installation, f"SELECT {columns} FROM gregory_predictionrunlog WHERE run_type = 'predict' ORDER BY id")


def model(installation: Installation) -> Path:
    (folder,) = (installation.models / "t/good/lgbm_tfidf").iterdir()
    return folder


def test_every_article_is_predicted_once(ready: Installation):
    store(ready, [Row(900, "Nobody has looked", "myelin lesion", ""), Row(901, "Without a summary", "", "")], subject="good")

    first, second = (ready.must(*PREDICT, "--output", "json") for _ in range(2))

    (row,) = json.loads(first)
    assert (row["processed"], row["new predictions"], row["failures"], row["result"]) == (42, 42, 0, "success")
    assert [row["processed"] for row in json.loads(second)] == [0]
    assert predictions(ready) == 42
    assert predict_rows(ready) == [("lgbm_tfidf", True, None)] * 2
    # The second one needs no run.
    runs = query(ready, "SELECT kind, state FROM gregory_runs_trainingrun ORDER BY queued_at")
    assert runs == [("train", "succeeded"), ("predict", "succeeded")]
    assert not list(ready.models.glob("**/.runs/[!.]*"))


@pytest.mark.slow
def test_an_older_promoted_version_predicts(ready: Installation):
    first = model(ready).name
    ready.must("train_models", *SUBJECT, "--all-articles", "--algo", "lgbm_tfidf", "--version", "second")
    promotion = {"version": "second", "at": datetime.now(UTC).isoformat(), "by": "ann"}
    (ready.models / "t/good/lgbm_tfidf/promoted.json").write_text(json.dumps(promotion))

    (row,) = json.loads(ready.must(*PREDICT, "--output", "json"))
    (named,) = json.loads(ready.must(*PREDICT, "--output", "json", "--model-version", first))

    assert (row["version"], named["version"], named["processed"]) == ("second", first, 40)


def test_a_subject_without_a_version_is_refused_without_a_row(ready: Installation):
    done = ready.manage(*PREDICT, "--algo", "lstm")

    message = f"CommandError: t/good: lstm has no version yet; train it with: {TRAIN} lstm\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert predict_rows(ready) == []


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_an_unknown_version_is_refused_without_a_row(ready: Installation, flags: tuple[str, ...]):
    done = ready.manage(*PREDICT, "--algo", "lgbm_tfidf", "--model-version", "19990101", *flags)

    message = f"CommandError: t/good: lgbm_tfidf has no version 19990101; it has {model(ready).name}\n"
    assert (done.returncode, done.stderr) == (1, message)
    assert bool(done.stdout) == bool(flags)
    assert predict_rows(ready) == []


def test_no_article_in_the_window_is_a_success(ready: Installation):
    ready.run_code("from gregory.models import Articles; Articles.objects.update(discovery_date='2001-01-01T00:00Z')")

    done = ready.manage("predict_articles", *SUBJECT)

    assert (done.returncode, done.stderr) == (0, "")
    assert "t/good: no article to predict; articles of the last 90 days" in done.stdout
    assert predict_rows(ready) == [("lgbm_tfidf", True, None)]


def test_a_flipped_byte_fails_the_row_and_writes_nothing(ready: Installation):
    file = model(ready) / "lgbm_classifier.txt"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)

    done = ready.manage(*PREDICT)

    assert done.returncode == 1
    assert done.stderr == "CommandError: 1 of 1 prediction failed\n"
    assert predict_rows(ready) == [("lgbm_tfidf", False, f"{file}: changed since training (sha256 differs)")]
    assert predictions(ready) == 0


def test_a_model_of_other_base_models_fails_the_row(ready: Installation, demo_bundle: Path):
    done = ready.manage(*PREDICT, GREGORY_BASE_MODELS=str(demo_bundle))

    ((_, success, error),) = predict_rows(ready)
    assert (done.returncode, success) == (1, 0)
    assert error.startswith(f"{model(ready)}: the model was trained with base models ")
    assert error.endswith(": install the base models of the training, or train the subject again")
    assert predictions(ready) == 0


@pytest.mark.slow
def test_a_model_of_an_earlier_text_version_gets_its_own_texts(ready: Installation, tmp_path: Path):
    """In the earlier version the citation is a part of the text, so that the words of the model are in it."""
    cited = Row(900, "A title", "Relapse myelin lesion axon. 2021 Jun 4. ABSTRACT Words", "")
    scored = []
    for version, abstract in (("2", "Words"), ("1", cited.summary)):
        restate(ready, '"text_version": 2', f'"text_version": {version}')
        texts = f"title,summary\n{cited.title},{cited.summary}\n,{cited.title} {abstract}\n"
        done = subprocess.run(
            [sys.executable, "-m", "gregory.score", str(model(ready))],
            cwd=REPOSITORY,
            input=texts,
            capture_output=True,
            text=True,
            check=True,
        )
        first, second = csv.DictReader(done.stdout.splitlines())
        assert first["probability"] == second["probability"]
        scored.append(float(first["probability"]))
    store(ready, [cited], subject="good")

    ready.must(*PREDICT)

    ((predicted,),) = query(ready, "SELECT probability_score FROM gregory_mlpredictions WHERE article_id = 900")
    assert predicted == pytest.approx(scored[1], abs=1e-6)
    assert predicted != pytest.approx(scored[0], abs=1e-6)


def test_a_model_of_an_unknown_text_version_fails_the_row(ready: Installation):
    restate(ready, '"text_version": 2', '"text_version": 3')

    done = ready.manage(*PREDICT)

    remedy = "train the subject again, or predict with the release that trained it"
    message = f"{model(ready)}: the model has text version 3, and not 1 or 2: {remedy}"
    assert (done.returncode, predict_rows(ready)) == (1, [("lgbm_tfidf", False, message)])


def restate(installation: Installation, old: str, new: str) -> None:
    """Change the manifest, and the sha256 of it that the database has."""
    manifest = model(installation) / "manifest.json"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    installation.run_code(f"from gregory.runs.models import AlgorithmRun; AlgorithmRun.objects.update(artifact_digest='{digest}')")


@pytest.mark.slow
def test_a_chosen_threshold_is_that_of_the_models_validation_articles(ready: Installation):
    evaluation = json.loads((model(ready) / "evaluation.json").read_text())
    (chosen,) = [point["threshold"]["value"] for point in evaluation["operating_points"] if point["choice"] == "recall=0.95"]

    (row,) = json.loads(ready.must(*PREDICT, "--output", "json", "--threshold", "recall=0.950"))

    assert row["threshold"] == chosen
    marked = "SELECT predicted_relevant, min(probability_score), max(probability_score) FROM gregory_mlpredictions GROUP BY 1 ORDER BY 1"
    (_, _, below), (_, least, _) = query(ready, marked)
    assert below < chosen <= least
    assert query(ready, "SELECT count(*) FROM gregory_mlpredictions WHERE predicted_relevant") == [(row["relevant"],)]


@pytest.mark.parametrize("file", [False, True])
def test_a_model_without_thresholds_is_refused_before_a_row(ready: Installation, file: bool):
    evaluation = model(ready) / "evaluation.json"
    content = json.loads(evaluation.read_text()) | {"operating_points": []}
    for curve in ("pr", "roc"):
        del content["validation"][curve]["thresholds"]
    evaluation.write_text(json.dumps(content))
    if file:
        # Its model is compared with its manifest before.
        digest = hashlib.sha256(evaluation.read_bytes()).hexdigest()
        manifest = model(ready) / "manifest.json"
        facts = json.loads(manifest.read_text())
        facts["files"]["evaluation.json"] |= {"sha256": digest, "bytes": evaluation.stat().st_size}
        manifest.write_text(json.dumps(facts))
    flags = ("--input", "a.csv", "--output-file", "b.csv") if file else ("--all-articles",)

    done = ready.manage("predict_articles", *SUBJECT, *flags, "--algo", "lgbm_tfidf", "--threshold", "best-f1")

    cause = "an older release trained this model and kept no thresholds; write a number, or train the subject again"
    place = "" if file else "t/good: lgbm_tfidf: "
    assert (done.returncode, done.stderr) == (1, f"CommandError: {place}{model(ready)}: threshold 'best-f1': {cause}\n")
    assert predict_rows(ready) == []


@pytest.mark.slow
def test_long_abstracts_are_predicted(ready: Installation):
    store(ready, [Row(900, "Long", "myelin lesion " * 14_000, "")], subject="good")

    (row,) = json.loads(ready.must(*PREDICT, "--output", "json"))

    assert (row["new predictions"], row["failures"]) == (41, 0)


def test_a_run_that_was_killed_between_two_batches_is_resumed_without_a_gap(ready: Installation):
    spec = json.loads(ready.run_code(OPEN).strip().splitlines()[-1])
    environment = {**os.environ, **ready.environment, "GREGORY_RUN_SPEC": json.dumps(spec)}
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=REPOSITORY, env=environment, capture_output=True, timeout=600)
    assert killed.returncode == -signal.SIGKILL
    assert predictions(ready) == 10

    ready.must("predict_articles", "--resume", spec["run_id"])

    assert predictions(ready) == 40
    assert predict_rows(ready) == [("lgbm_tfidf", True, None)]
    assert query(ready, "SELECT state, attempt FROM gregory_runs_trainingrun WHERE kind = 'predict'") == [("succeeded", 2)]


def test_a_prediction_is_not_resumed_as_a_training(ready: Installation):
    run_id = json.loads(ready.run_code(OPEN).strip().splitlines()[-1])["run_id"]

    done = ready.manage("train_models", "--resume", run_id)

    use = f"python manage.py predict_articles --resume {run_id}"
    message = f"CommandError: --resume {run_id}: this run is of another kind; use: {use}"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, message)


def test_a_file_is_ranked_without_a_row(ready: Installation, tmp_path: Path):
    source, target = tmp_path / "articles.csv", tmp_path / "ranked.csv"
    source.write_text('id,title,abstract\n1,Weather,harvest tax\n2,Myelin,"lesion, relapse"\n3,Without an abstract,\n')
    before = query(ready, "SELECT count(*) FROM gregory_predictionrunlog")

    said = ready.must("predict_articles", *SUBJECT, "--input", str(source), "--output-file", str(target), "--threshold", "0.5")

    with target.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["id", "title", "probability_lgbm_tfidf", "probability", "consensus", "relevant"]
    assert (rows[0]["id"], rows[0]["title"]) == ("2", "Myelin")
    assert [float(row["probability"]) for row in rows] == sorted((float(row["probability"]) for row in rows), reverse=True)
    assert {(row["consensus"], row["relevant"]) for row in rows} <= {("1 of 1", "1"), ("0 of 1", "0")}
    assert said.startswith(f"3 articles to {target}, ")
    again = ("--input", str(source), "--output-file", str(target), "--threshold", "0.5", "--output", "json")
    told = json.loads(ready.must("predict_articles", *SUBJECT, *again))
    relevant = sum(row["relevant"] == "1" for row in rows)
    assert told == {"file": str(target), "articles": 3, "relevant": relevant, "models": {"lgbm_tfidf": model(ready).name}}
    assert query(ready, "SELECT count(*) FROM gregory_predictionrunlog") == before


@pytest.mark.parametrize("way", ["database", *(pytest.param(way, marks=pytest.mark.slow) for way in ("file", "score"))])
def test_a_model_of_another_subject_predicts_nothing(ready: Installation, tmp_path: Path, way: str):
    """Its folder was copied. The same folder is used after it moved with its subject, although its manifest names the old place."""
    copy = ready.models / "t/other/lgbm_tfidf" / model(ready).name
    shutil.copytree(model(ready), copy)
    store(ready, [Row(900, "Myelin", "lesion", "")], subject="other")
    source, target = tmp_path / "articles.csv", tmp_path / "ranked.csv"
    source.write_text("id,title\n1,Myelin\n")
    flags = ("--input", str(source), "--output-file", str(target)) if way == "file" else ("--all-articles",)

    def ask() -> subprocess.CompletedProcess[str]:
        if way == "score":
            return score(ready, "text\nmyelin\n", folder=copy)
        return ready.manage("predict_articles", "--team", "t", "--subject", "other", "--algo", "lgbm_tfidf", *flags)

    refused = ask()

    stated = f"t/good/lgbm_tfidf/{copy.name}"
    said = f"{copy}: holds {stated}; it was moved or copied here; "
    own = "a prediction uses only models that t/other trained: remove the folder, or move it to "
    remedy = f"use {ready.models / stated}, or a model of the place itself" if way == "score" else own + stated
    label = {"score": "", "file": "CommandError: ", "database": "CommandError: t/other: lgbm_tfidf: "}[way]
    assert (refused.returncode, refused.stderr) == (1, f"{label}{said}{remedy}\n")
    assert (target.exists(), predictions(ready), predict_rows(ready)) == (False, 0, [])

    shutil.rmtree(ready.models / "t/other")
    (ready.models / "t/good").rename(ready.models / "t/other")
    slugs = "Subject.objects.filter(subject_slug='other').update(subject_slug='else'); "
    ready.run_code(f"from gregory.models import Subject; {slugs}Subject.objects.filter(subject_slug='good').update(subject_slug='other')")
    moved = ask()
    assert (moved.returncode, moved.stderr) == (0, "")


def predict_file(installation: Installation, target: Path) -> "subprocess.Popen[str]":
    """The command, predicting two articles into the target. Its temporary files are in the folder tmp beside the target."""
    source, temporary = target.with_name("articles.csv"), target.with_name("tmp")
    source.write_text("id,title\n1,Myelin\n2,Weather\n")
    temporary.mkdir()
    command = [sys.executable, "manage.py", "predict_articles", *SUBJECT, "--input", str(source), "--output-file", str(target)]
    environment = {**os.environ, **installation.environment, "TMPDIR": str(temporary)}
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_not_ignored
    )


def _not_ignored() -> None:
    # A shell starts its background jobs with this signal ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_a_prediction_of_a_file_in_order(ready: Installation, tmp_path: Path, number: signal.Signals):
    target = tmp_path / "ranked.csv"
    target.write_text("of yesterday")

    with predict_file(ready, target) as process:
        while not list((tmp_path / "tmp").glob("gregory-predict-*/*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=600)

    assert (process.returncode, errors) == (128 + number, f"CommandError: interrupted by signal {number.value} ({number.name})\n")
    assert (list((tmp_path / "tmp").iterdir()), target.read_text()) == ([], "of yesterday")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["articles.csv", "installation", "ranked.csv", "tmp"]


@pytest.mark.root
def test_a_full_disk_leaves_the_file_of_a_prediction_as_it_was(tmp_path: Path):
    row = ImportRow(source_id="1", title="x" * 5000, summary="", link="", label=None, discovery_date=None)
    with tmpfs(tmp_path, "size=16k"):
        target = tmp_path / "ranked.csv"
        target.write_text("of yesterday")
        with pytest.raises(OSError, match=r"ranked\.csv cannot be written") as caught:
            file_prediction.write_ranked(target, [row] * 9, {"lstm": dict.fromkeys(range(9), 0.5)}, {"lstm": 0.8})
        left = {path.name: path.read_text() for path in tmp_path.iterdir()}

    remedy = "free space there, or give another --output-file"
    assert str(caught.value) == f"{target} cannot be written: No space left on device; {remedy}"
    assert left == {"ranked.csv": "of yesterday"}


def test_a_file_without_the_models_folder_is_refused(ready: Installation, tmp_path: Path):
    (ready.folder / "models").rename(ready.folder / "away")

    done = ready.manage("predict_articles", *SUBJECT, "--input", "a.csv", "--output-file", str(tmp_path / "b.csv"))

    message = f"CommandError: the models folder {ready.folder / 'models'} does not exist; mount its volume, or make it once: "
    assert (done.returncode, done.stderr.splitlines()[-1].startswith(message)) == (1, True)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--input", "a.csv"), "--input and --output-file need each other"),
        (("--input", "a.csv", "--output-file", "b.csv"), "--input a.csv needs the models of one subject: give --team and --subject"),
        (
            ("--subject", "good", "--input", "a.csv", "--output-file", "./a.csv"),
            "--output-file a.csv is the file of --input; give another name",
        ),
        (
            ("--subject", "good", "--input", "a.csv", "--output-file", "models"),
            "--output-file models is a folder; give the name of a file",
        ),
        (
            ("--subject", "good", "--input", "a.csv", "--output-file", "none/b.csv"),
            "--output-file none/b.csv: its folder does not exist or cannot be written; make it, or give another one",
        ),
        (
            ("--subject", "good", "--input", "a.csv", "--output-file", "manage.py/b.csv"),
            "--output-file manage.py/b.csv: its folder does not exist or cannot be written; make it, or give another one",
        ),
        (
            ("--subject", "good", "--input", "a.csv", "--output-file", "b" * 300),
            f"--output-file {'b' * 300}: File name too long; give another name",
        ),
        (
            ("--subject", "good", "--input", "a.csv", "--output-file", "b.csv", "--dry-run", "--runner", "docker"),
            "leave out --dry-run, --runner: with --input this process predicts every article of the file",
        ),
    ],
)
def test_a_file_needs_the_other_file_and_a_subject(trained: Installation, flags: tuple[str, ...], message: str):
    done = trained.manage("predict_articles", "--team", "t", *flags)

    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"CommandError: {message}")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("elsewhere.csv")])
def test_a_result_replaces_no_link_and_no_device(trained: Installation, tmp_path: Path, make: Callable[[Path], None]):
    target = tmp_path / "ranked.csv"
    make(target)
    before = target.lstat()

    done = trained.manage("predict_articles", "--team", "t", "--subject", "good", "--input", "a.csv", "--output-file", str(target))

    message = f"--output-file {target} is a link or a device, and the result would replace it; give the name of a file"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"CommandError: {message}")
    assert (target.lstat().st_ino, target.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_texts_of_standard_input_are_scored_without_django(ready: Installation):
    texts = 'text,ID\nmyelin lesion,a\n"tax, harvest","b,1"\n'

    done = score(ready, texts)

    header, first, second = done.stdout.splitlines()
    assert (done.returncode, done.stderr, header) == (0, "", "id,probability,relevant")
    assert (first.split(",")[0], second[:5]) == ("a", '"b,1"')
    assert float(first.split(",")[1]) > float(second.split(",")[2])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            "words\nmyelin\n",
            "the header of standard input has no column text, and no column title; its columns, separated by commas, are: words\n",
        ),
        ('id,text\n"1\n2",b\n1\n', "line 4 has 1 column, and the header has more; correct the line\n"),
        ("", "standard input is empty; give a CSV file with a header\n"),
        (
            'id,text\n1,"myelin\n2,lesion\n',
            "line 2 of standard input is not CSV: unexpected end of data; check for a quote that is not closed or not doubled\n",
        ),
    ],
)
def test_standard_input_without_texts_is_refused(ready: Installation, texts: str, message: str):
    done = score(ready, texts)

    assert (done.returncode, done.stderr) == (1, message)


def test_other_bytes_than_utf8_are_refused(ready: Installation):
    done = score(ready, b"id,text\n1,caf\xe9\n")

    assert (done.returncode, done.stderr) == (1, "standard input is not UTF-8 (invalid continuation byte); save it as UTF-8\n")


def test_the_two_names_of_the_threshold_exclude_each_other(trained: Installation):
    done = trained.manage(*PREDICT, "--threshold", "0.5", "--prob-threshold", "0.6")

    message = "error: argument --threshold/--prob-threshold: given twice, with 0.5 and 0.6; leave out one of them"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"manage.py predict_articles: {message}")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("1.5", "error: --threshold '1.5' is out of range; write a number between 0 and 1 (0.8), best-f1, or recall=0.95"),
        ("high", "error: --threshold 'high' is not valid; write a number between 0 and 1 (0.8), best-f1, or recall=0.95"),
    ],
)
def test_a_wrong_threshold_is_a_wrong_use(ready: Installation, choice: str, message: str):
    done = score(ready, "", "--threshold", choice)

    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"python -m gregory.score: {message}")


def test_a_closed_standard_input_is_a_wrong_use(ready: Installation):
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "gregory.score", str(model(ready))]

    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)

    message = "python -m gregory.score: error: standard input is closed; give a CSV file: < texts.csv"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, message)


def test_an_ended_command_removes_its_copy_of_the_model(ready: Installation, tmp_path: Path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "gregory.score", str(model(ready))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(temporary)}) as process:
        assert process.stdin is not None
        process.stdin.write(b"text\n")
        process.stdin.flush()
        while not any(temporary.rglob("manifest.json")):
            assert process.poll() is None
        process.terminate()

        assert process.wait(timeout=600) == 143
    assert list(temporary.iterdir()) == []


def test_a_missing_library_is_named(ready: Installation):
    program = "import sys; sys.modules['lightgbm'] = None; from gregory.score import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(model(ready))]

    done = subprocess.run(command, input="text\nmyelin\n", cwd=REPOSITORY, capture_output=True, text=True, timeout=600)

    message = "the library lightgbm is not installed, and this model needs it; install the extra `score` of gregory-train\n"
    assert (done.returncode, done.stderr) == (1, message)


def score(installation: Installation, texts: str | bytes, *flags: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gregory.score", str(folder or model(installation)), *flags]
    given = texts.encode() if isinstance(texts, str) else texts
    done = subprocess.run(command, input=given, cwd=REPOSITORY, capture_output=True, timeout=600)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
