"""The command line of `train_models`: every flag, every refusal with message and exit code, and the rows.

InstantRunner claims the runs and ends them with success, without a training.
"""

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import CommandError, ManagementUtility, call_command
from django.db import connections

from gregory.launch import preconditions, processes
from gregory.launch.registry import RUNNERS
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.ml.config import ALGORITHMS
from gregory.ml.metrics import NAMES
from gregory.models import PredictionRunLog, Subject, Team
from gregory.runs import events, store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.events import Event, Level
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunHandle, RunSpec
from gregory.runs.states import RunState
from tests.database_rows import make_team
from tests.published import publish

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2025, 6, 14, 12, 30, tzinfo=UTC)
DAY = "20250614"
USAGE = "usage: manage.py train_models [-h] [--team SLUG] [--subject SLUG]"
MS = ("--team", "neurology", "--subject", "ms")
METRICS = {**{f"{part}_{name}": 0.5 for part in ("val", "test") for name in NAMES}, "prob_threshold": 0.8}
WINDOW = "articles of the last 90 days, discovered since 2025-03-16 12:30 UTC"


class Result(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


class InstantRunner:
    """A runner whose runs succeed at once without a training."""

    name = "instant"
    durable = False
    max_parallel = 1
    shares_models_dir = True
    gives_gpu = False
    max_attempts = 1
    stall_seconds = 0

    def __init__(self, installation: Installation) -> None:
        self._bundle_dir = installation.bundle_dir

    def check(self) -> None:
        preconditions.require_bundle(self._bundle_dir)

    def owner_handle(self) -> RunHandle:
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        return Rendered(spec=spec, request={})

    def submit(self, rendered: Rendered) -> RunHandle:
        return self.owner_handle()

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        return [Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="the instant is over", exit_code=0)) for _ in handles]

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        assert store.claim(spec, handle, image_digest="")
        for algorithm in spec.algorithms:
            outcome = AlgorithmOutcome(**algorithm.model_dump(), success=True, metrics=METRICS)
            assert store.close_algorithm(spec, outcome)
            yield "Epoch 1/10: what a library prints"
            yield event(spec, Level.WARNING, "a warning", algorithm.algorithm)
            yield event(spec, Level.PROGRESS, f"Finished version {algorithm.version}", algorithm.algorithm)
        assert store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)

    def cleanup(self, spec: RunSpec) -> None:
        """Remove nothing."""


def event(spec: RunSpec, level: Level, message: str, algorithm: str) -> str:
    return events.to_json(
        Event(level=level, at="2025-06-14T12:30:00Z", run_id=spec.run_id, subject=spec.label, message=message, algorithm=algorithm)
    )


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def run(models: Path, small_bundle: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command as a shell does, with NOW as the current time."""
    settings.MODELS_DIR = models
    settings.BASE_MODELS_DIR = small_bundle
    settings.RUNNER = "local"
    monkeypatch.setitem(RUNNERS, "instant", f"{__name__}:InstantRunner")
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    # argparse wraps its usage at the width of the terminal.
    monkeypatch.setenv("COLUMNS", "80")
    # A second setup would close every log handler. The handler of absl also closes the stderr of pytest.
    monkeypatch.setattr("django.setup", lambda: None)
    # A command closes its connections at its end. Here they hold the transaction of the test.
    monkeypatch.setattr(connections, "close_all", lambda: None)

    def run(*flags: str) -> Result:
        code: Any = 0
        try:
            ManagementUtility(["manage.py", "train_models", *flags]).execute()
        except SystemExit as end:
            code = end.code
        return Result(code, *capsys.readouterr())

    return run


def rows() -> list[tuple[str, str, str, bool | None]]:
    found = PredictionRunLog.objects.order_by("pk")
    return list(found.values_list("subject__subject_slug", "algorithm", "model_version", "success"))


def plan(run: Run, *flags: str) -> list[dict[str, Any]]:
    done = run(*flags, "--dry-run", "--output", "json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def assert_nothing_written(models: Path) -> None:
    assert (PredictionRunLog.objects.count(), TrainingRun.objects.count(), models.exists()) == (0, 0, False)


def test_without_flags_it_prints_its_usage_with_exit_code_2(run, feed, models):
    done = run()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    for flag in (
        "--all-teams",
        "--all-articles",
        "--lookback-days N",
        "--algo A,B,C",
        "--prob-threshold X",
        "--version V",
        "--pseudo-label",
        "--resume RUN_ID",
    ):
        assert f"[{flag}]" in done.err
    assert "[--verbose {0,1,2,3}]" in done.err
    assert done.err.endswith("\nCommandError: nothing to train: give --team SLUG, or --all-teams\n")
    assert_nothing_written(models)


def bad_version(version: str) -> str:
    return f"--version {version!r} cannot name a model: use 1 to 100 of a-z A-Z 0-9 . _ - and start with a letter or digit"


def bad_days(days: str) -> str:
    return f"--lookback-days {days} must be from 1 to 36500; for every article use --all-articles"


def bad_threshold(value: str) -> str:
    return f"--prob-threshold {value} must be greater than 0 and less than 1"


def bad_algorithm(text: str, named: str) -> str:
    return f"--algo {text!r}: unknown algorithm {named}; choose from pubmed_bert, lgbm_tfidf, lstm"


LONG = "ü" * 60


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--subject", "ms"), "--subject ms needs --team: a subject slug is unique only within its team"),
        ((*MS, "--all-articles", "--lookback-days", "30"), "--all-articles and --lookback-days exclude each other: give one of them"),
        (
            ("--all-teams", "--all-articles", "--lookback-days", "90"),
            "--all-articles and --lookback-days exclude each other: give one of them",
        ),
        ((*MS, "--lookback-days", "0"), bad_days("0")),
        ((*MS, "--lookback-days", "-3"), bad_days("-3")),
        ((*MS, "--lookback-days", "1000000"), bad_days("1000000")),
        ((*MS, "--algo", "lstm,svm,bert"), bad_algorithm("lstm,svm,bert", "svm, bert")),
        ((*MS, "--algo", ""), bad_algorithm("", "(none given)")),
        ((*MS, "--algo", " , "), bad_algorithm(" , ", "(none given)")),
        ((*MS, "--prob-threshold", "0"), bad_threshold("0")),
        ((*MS, "--prob-threshold", "1"), bad_threshold("1")),
        ((*MS, "--prob-threshold", "1.5"), bad_threshold("1.5")),
        ((*MS, "--prob-threshold", "nan"), bad_threshold("nan")),
        ((*MS, "--prob-threshold", "inf"), bad_threshold("inf")),
        ((*MS, "--version", "../x"), bad_version("../x")),
        ((*MS, "--version", ""), bad_version("")),
        ((*MS, "--version", "v" * 101), bad_version("v" * 101)),
        ((*MS, "--version", ".x"), bad_version(".x")),
        ((*MS, "--version", "a b"), bad_version("a b")),
        ((*MS, "--version", "versão"), bad_version("versão")),
        (("--team", "x"), "unknown team 'x'; teams: idle, neurology, oncology"),
        (("--team", ""), "unknown team ''; teams: idle, neurology, oncology"),
        (("--team", LONG, "--subject", LONG), f"unknown team {LONG!r}; teams: idle, neurology, oncology"),
        (("--team", "neurology", "--subject", "x"), "team 'neurology' has no subject 'x'; its subjects: als, ms"),
        (("--team", "neurology", "--subject", LONG), f"team 'neurology' has no subject {LONG!r}; its subjects: als, ms"),
        (("--team", "neurology", "--subject", "lung"), "team 'neurology' has no subject 'lung'; its subjects: als, ms"),
        (("--team", "idle"), "team 'idle' has no subject"),
        (("--team", "idle", "--subject", "x"), "team 'idle' has no subject 'x'; its subjects: none"),
    ],
)
@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_flags_that_contradict_the_rules_are_refused_with_2(
    run, feed, models, flags: tuple[str, ...], message: str, dry_run: tuple[str, ...]
):
    done = run(*flags, *dry_run)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(f"\nCommandError: {message}\n")
    assert_nothing_written(models)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lookback-days", "x"), "argument --lookback-days: invalid int value: 'x'"),
        (("--lookback-days", "1.5"), "argument --lookback-days: invalid int value: '1.5'"),
        (("--prob-threshold", "x"), "argument --prob-threshold: invalid float value: 'x'"),
        (("--verbose", "4"), "argument --verbose: invalid choice: 4 (choose from 0, 1, 2, 3)"),
        (("--verbose", "-1"), "argument --verbose: invalid choice: -1 (choose from 0, 1, 2, 3)"),
        (("--verbose", "x"), "argument --verbose: invalid int value: 'x'"),
        (("--version",), "argument --version: expected one argument"),
        (("ms",), "unrecognized arguments: ms"),
    ],
)
def test_values_that_the_parser_cannot_read_are_refused_with_2(run, feed, models, flags: tuple[str, ...], message: str):
    done = run(*MS, *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(f"\nmanage.py train_models: error: {message}\n")
    assert_nothing_written(models)


def test_an_unknown_runner_is_refused_with_the_known_ones(run, feed, models):
    assert run(*MS, "--runner", "moon") == (
        2,
        "",
        "CommandError: --runner: unknown runner 'moon'; choose from local, docker, kubernetes, instant\n",
    )
    assert_nothing_written(models)


def test_all_teams_of_an_empty_database_are_refused(run, models):
    done = run("--all-teams")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("\nCommandError: --all-teams: no team has a subject; create one in GregoryAI, or run load_demo\n")
    assert_nothing_written(models)


def test_call_command_raises_the_same_refusal(run, feed, models):
    err = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("train_models", "--subject", "ms", stdout=io.StringIO(), stderr=err)
    assert str(caught.value) == "--subject ms needs --team: a subject slug is unique only within its team"
    assert caught.value.returncode == 2
    assert err.getvalue().startswith("usage: ")
    assert_nothing_written(models)


@pytest.mark.parametrize(
    ("flags", "labels"),
    [
        (("--team", "neurology"), ["neurology/als", "neurology/ms"]),
        (MS, ["neurology/ms"]),
        (("--all-teams",), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", "--team", "oncology"), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", *MS), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", "--team", "no such", "--subject", "thing"), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", "--subject", "thing"), ["neurology/als", "neurology/ms", "oncology/lung"]),
    ],
)
def test_the_scope_flags_select_the_subjects(run, feed, flags: tuple[str, ...], labels: list[str]):
    rows = plan(run, *flags, "--algo", "lstm")
    assert [f"{row['team']}/{row['subject']}" for row in rows] == labels


def test_the_longest_slug_beyond_ascii(run, models):
    slug = "Größenwahn-神経-" + "ß" * 36
    assert len(slug) == 50
    Subject.objects.create(team=make_team(slug), subject_slug=slug, subject_name="x")
    done = run("--team", slug, "--subject", slug, "--algo", "lstm", "--runner", "instant")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f" INFO {TrainingRun.objects.get().run_id} {slug}/{slug}/lstm: Finished version {DAY}\n")
    assert rows() == [(slug, "lstm", DAY, True)]


@pytest.mark.parametrize(
    ("flags", "cutoff", "window"),
    [
        ((), "2025-03-16T12:30:00+00:00", WINDOW),
        (("--lookback-days", "7"), "2025-06-07T12:30:00+00:00", "articles of the last 7 days, discovered since 2025-06-07 12:30 UTC"),
        (("--lookback-days", "1"), "2025-06-13T12:30:00+00:00", "articles of the last 1 day, discovered since 2025-06-13 12:30 UTC"),
        (("--all-articles",), None, "all articles"),
    ],
)
def test_the_window_flags_set_the_cutoff(run, feed, flags: tuple[str, ...], cutoff: str | None, window: str):
    (planned,) = plan(run, *MS, "--algo", "lstm", *flags)
    assert (planned["cutoff"], planned["window"]) == (cutoff, window)

    assert run(*MS, "--algo", "lstm", "--runner", "instant", *flags).code == 0
    recorded = TrainingRun.objects.get().spec["window"]
    assert (recorded["cutoff"] and datetime.fromisoformat(recorded["cutoff"]).isoformat(), recorded["description"]) == (cutoff, window)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), ALGORITHMS),
        (("--algo", "lstm,pubmed_bert,lgbm_tfidf"), ("lstm", "pubmed_bert", "lgbm_tfidf")),
        (("--algo", "lgbm_tfidf,lstm,lgbm_tfidf"), ("lgbm_tfidf", "lstm")),
        (("--algo", " lstm , lgbm_tfidf,"), ("lstm", "lgbm_tfidf")),
    ],
)
def test_the_rows_have_the_order_of_the_algorithms(run, feed, flags: tuple[str, ...], expected: tuple[str, ...]):
    done = run(*MS, "--runner", "instant", *flags)
    assert (done.code, done.err) == (0, "")
    assert rows() == [("ms", algorithm, DAY, True) for algorithm in expected]
    assert [algorithm["algorithm"] for algorithm in TrainingRun.objects.get().spec["algorithms"]] == list(expected)


def test_the_threshold_and_pseudo_labels_are_recorded(run, feed):
    run(*MS, "--algo", "lstm", "--runner", "instant", "--prob-threshold", "0.35", "--pseudo-label")
    run("--team", "neurology", "--subject", "als", "--algo", "lstm", "--runner", "instant")
    configs = [training.spec["config"] for training in TrainingRun.objects.order_by("subject__subject_slug")]
    assert [(config["prob_threshold"], config["pseudo_label"]) for config in configs] == [(0.8, False), (0.35, True)]


def test_every_row_has_the_user_of_the_command(run, feed):
    run(*MS, "--algo", "lstm", "--runner", "instant")
    row = PredictionRunLog.objects.get()
    assert re.fullmatch(r"train_models \S+@\S+", row.triggered_by)
    assert (row.run_type, row.team.slug, row.error_message) == ("train", "neurology", None)
    assert row.run_finished is not None


@pytest.mark.parametrize("version", ["release-1.0", "v" * 100, "7"])
def test_version_replaces_the_flag_of_django(run, feed, version: str):
    done = run(*MS, "--version", version, "--algo", "lstm,lgbm_tfidf", "--runner", "instant")
    assert (done.code, done.err) == (0, "")
    assert rows() == [("ms", "lstm", version, True), ("ms", "lgbm_tfidf", version, True)]


def test_the_next_run_of_a_day_has_the_next_suffix(run, feed):
    for _ in range(3):
        assert run(*MS, "--algo", "lstm", "--runner", "instant").code == 0
    assert [version for _, _, version, _ in rows()] == [DAY, f"{DAY}_2", f"{DAY}_3"]


def refused_version(done: Result) -> None:
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(
        "\nCommandError: --version v1: neurology/ms/lstm already has this version; versions are never overwritten, choose another\n"
    )


def test_a_version_of_a_row_is_refused(run, feed, models):
    assert run(*MS, "--version", "v1", "--algo", "lstm", "--runner", "instant").code == 0
    assert not (models / "neurology").exists()

    refused_version(run(*MS, "--version", "v1", "--runner", "instant"))

    assert rows() == [("ms", "lstm", "v1", True)]


def test_a_version_of_a_folder_is_refused(run, feed, models):
    (models / "neurology" / "ms" / "lstm" / "v1").mkdir(parents=True)

    refused_version(run("--team", "neurology", "--version", "v1", "--runner", "instant"))

    assert rows() == []


def test_a_dry_run_prints_the_plan_and_writes_nothing(run, feed, models):
    assert plan(run, *MS, "--prob-threshold", "0.5", "--pseudo-label", "--algo", "lstm", "--version", "v1") == [
        {
            "team": "neurology",
            "subject": "ms",
            "algorithm": "lstm",
            "version": "v1",
            "runner": "local",
            "window": WINDOW,
            "cutoff": "2025-03-16T12:30:00+00:00",
            "prob_threshold": 0.5,
            "pseudo_label": True,
            "require_gpu": False,
            "refused": None,
        }
    ]
    assert_nothing_written(models)


def test_a_dry_run_shows_a_required_gpu(run, feed, settings):
    settings.REQUIRE_GPU = True
    assert {row["require_gpu"] for row in plan(run, *MS)} == {True}


def test_table_and_json_of_a_dry_run_are_equal(run, feed, models):
    done = run("--all-teams", "--dry-run")
    assert (done.code, done.err) == (0, "")
    header, rule, *lines = (re.split(r" {2,}", line.rstrip()) for line in done.out.splitlines())
    assert set("".join(rule)) == {"-"}
    shown = [dict(zip(header, line, strict=True)) for line in lines]

    planned = plan(run, "--all-teams")

    assert len(shown) == 9
    assert shown == [
        {key: "-" if row[key] is None else str(row[key]) for key in row if key not in ("cutoff", "require_gpu")} for row in planned
    ]
    assert_nothing_written(models)


def test_a_dry_run_needs_no_base_models(run, feed, models, settings):
    settings.BASE_MODELS_DIR = models / "none"
    assert len(plan(run, *MS)) == 3


def test_a_dry_run_shows_refusals(run, feed):
    team = Team.objects.get(slug="neurology")
    TrainingRun.objects.create(
        run_id="abc123", subject=team.subjects.get(subject_slug="als"), runner="local", attempt_token="t", spec={}, queued_at=NOW
    )
    reasons = {row["subject"]: row["refused"] for row in plan(run, "--team", "neurology", "--algo", "lstm")}
    assert reasons == {
        "als": "neurology/als has an unfinished run abc123 (pending since 2025-06-14 12:30 UTC); wait for it, or run reconcile_runs --once "
        "if it is dead",
        "ms": None,
    }


def output(*, warning: bool) -> str:
    run_id = TrainingRun.objects.latest("pk").run_id
    about = f"{run_id} neurology/ms/lstm:"
    lines = [f"2025-06-14T12:30:00Z WARNING {about} a warning"] if warning else []
    return "".join(f"{line}\n" for line in [*lines, f"2025-06-14T12:30:00Z INFO {about} Finished version {DAY}"])


@pytest.mark.parametrize("verbosity", ["0", "1", "3"])
def test_the_verbosity_flag_of_django_has_no_effect(run, feed, verbosity: str):
    done = run(*MS, "--algo", "lstm", "--runner", "instant", "--verbosity", verbosity)
    assert done == (0, output(warning=False), "")
    assert TrainingRun.objects.get().spec["verbosity"] == 1


@pytest.mark.parametrize(("verbose", "warning"), [("1", False), ("2", True)])
def test_warnings_need_level_2(run, feed, verbose: str, warning: bool):
    assert run(*MS, "--algo", "lstm", "--runner", "instant", "--verbose", verbose, "-v", "0") == (0, output(warning=warning), "")


def test_level_0_prints_nothing_at_any_verbosity_of_django(run, feed):
    assert run(*MS, "--runner", "instant", "--verbose", "0", "-v", "3") == (0, "", "")
    assert len(rows()) == 3


def test_level_3_prints_every_metric_at_the_end(run, feed, models):
    done = run(*MS, "--algo", "lstm", "--runner", "instant", "--verbose", "3")
    assert done.out.startswith(output(warning=True))
    reports, header, _, validation, test = done.out.removeprefix(output(warning=True)).splitlines()
    assert header.split() == ["team", "subject", "algorithm", "version", "result", "part", *NAMES, "seconds", "peak", "MiB"]
    assert validation.split() == ["neurology", "ms", "lstm", DAY, "success", "validation", *["0.500"] * 6, "0", "0"]
    assert test.split() == ["test", *["0.500"] * 6]
    assert reports == f"Model cards: {models}/<team>/<subject>/<algorithm>/<version>/report.html"


@pytest.fixture
def stopped(run: Run, feed: None, models: Path) -> RunSpec:
    """A run of two trainings that was killed during the first."""
    assert run(*MS, "--algo", "lstm,lgbm_tfidf", "--prob-threshold", "0.5", "--runner", "instant").code == 0
    training = TrainingRun.objects.get()
    PredictionRunLog.objects.update(success=None, run_finished=None)
    TrainingRun.objects.update(state="running")
    spec = RunSpec.model_validate(training.spec)
    (models / ".runs" / spec.run_id / "stages").mkdir(parents=True)
    return spec


def test_resume_starts_the_next_attempt_with_the_same_id(run, stopped):
    store.end_run(stopped, RunState.FAILED, Diagnosis(summary="signal 9", reason=Reason.KILLED))

    done = run("--resume", stopped.run_id)

    assert (done.code, done.err) == (0, "")
    first, *events = done.out.splitlines()
    assert first == f"neurology/ms: run {stopped.run_id} is resumed, attempt 2: lstm {DAY}_2, lgbm_tfidf {DAY}_2"
    assert [line.split(": ")[1] for line in events] == [f"Finished version {DAY}_2"] * 2
    assert rows() == [
        ("ms", "lstm", DAY, False),
        ("ms", "lgbm_tfidf", DAY, False),
        ("ms", "lstm", f"{DAY}_2", True),
        ("ms", "lgbm_tfidf", f"{DAY}_2", True),
    ]
    training = TrainingRun.objects.get()
    assert (training.run_id, training.attempt, training.state) == (stopped.run_id, 2, "succeeded")
    assert training.spec["config"]["prob_threshold"] == 0.5


def test_resume_trains_the_open_rows(run, stopped):
    done = run("--resume", stopped.run_id, "--runner", "instant", "--verbose", "3")

    assert (done.code, done.err) == (0, "")
    assert "a warning" in done.out
    assert done.out.splitlines()[-4].split()[:5] == ["neurology", "ms", "lstm", DAY, "success"]
    assert rows() == [("ms", "lstm", DAY, True), ("ms", "lgbm_tfidf", DAY, True)]


def test_resume_trains_nothing_if_every_model_is_complete(run, stopped, models):
    for position in (0, 1):
        publish(models, stopped, position=position)

    assert run("--resume", stopped.run_id) == (
        0,
        f"neurology/ms: every model of run {stopped.run_id} is complete; the rows are closed as successes and nothing is trained\n",
        "",
    )
    assert rows() == [("ms", "lstm", DAY, True), ("ms", "lgbm_tfidf", DAY, True)]


@pytest.mark.parametrize("flags", [("--team", "neurology"), ("--prob-threshold", "0.8"), ("--lookback-days", "90"), ("--dry-run",)])
def test_resume_excludes_flags_of_the_specification(run, stopped, flags: tuple[str, ...]):
    done = run("--resume", stopped.run_id, *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(
        f"\nCommandError: --resume and {flags[0]} exclude each other: run {stopped.run_id} continues with its stored specification\n"
    )
    assert TrainingRun.objects.get().attempt == 1


def test_resume_refuses_another_runner(run, stopped):
    done = run("--resume", stopped.run_id, "--runner", "local")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(f"\nCommandError: --runner local: run {stopped.run_id} belongs to the runner instant; omit --runner\n")
    assert TrainingRun.objects.get().attempt == 1


def test_resume_of_an_unknown_run_is_refused_with_the_resumable_ones(run, stopped):
    done = run("--resume", "nosuchrun")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(f"\nCommandError: --resume nosuchrun: there is no such run; can be resumed: {stopped.run_id} (neurology/ms)\n")


def test_resume_of_a_successful_run_is_refused_with_1(run, feed):
    assert run(*MS, "--algo", "lstm", "--runner", "instant").code == 0
    run_id = TrainingRun.objects.get().run_id

    assert run("--resume", run_id) == (1, "", f"CommandError: run {run_id} of neurology/ms succeeded: nothing to resume\n")
    assert run("--resume", run_id, "--verbose", "0") == (1, "", "")


def test_resume_needs_base_models(run, stopped, models, settings):
    settings.BASE_MODELS_DIR = models / "none"
    done = run("--resume", stopped.run_id)
    assert (done.code, done.out) == (1, "")
    assert "there is no base-model bundle" in done.err
    assert TrainingRun.objects.get().attempt == 1
