"""The gate: which new version is promoted, and what a failure of the gate leaves."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gregory.ml import artifacts, progress, promoting
from gregory.ml.dataset import Example, write_texts
from gregory.ml.gate import GateConfig, read_decisions
from gregory.ml.promotion import read_promotion
from gregory.ml.stages import __main__ as stages
from gregory.runs.models import RunEvent
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunSpec
from gregory.shutdown import ShutdownRequest
from job import stage_runner
from job.event_log import EventLogger
from job.fence import Superseded
from job.gating import Gate
from job.stage_runner import StageRunner
from job.supervise import StageFailed, Usage
from tests.database_rows import opened
from tests.fences import taken
from tests.published import answering_model

pytestmark = [pytest.mark.django_db, pytest.mark.database]

PLACE = "team/subject/lgbm_tfidf"
NOTHING = Usage(seconds=0.0, peak_bytes=0)
Decide = Callable[..., AlgorithmOutcome]


def knows(number: int) -> float:
    return 0.9 if number % 2 == 0 else 0.1


def guesses(number: int) -> float:
    return 0.9 if number % 4 < 2 else 0.2


def errs(number: int) -> float:
    return 0.9 - knows(number)


def knows_nearly_all(number: int) -> float:
    return 0.05 if number == 40 else knows(number)


@pytest.fixture
def run(subject) -> RunSpec:
    return opened(subject)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / PLACE


@pytest.fixture
def decide(run: RunSpec, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Publish version 20260101 with these answers, and let the gate decide."""

    def run_stage(stage: str, folder: Path, **options: object) -> Usage:
        if stages.perform(stage, folder / "in", folder / "out", progress.silent):
            error = json.loads((folder / "out.partial" / "error.json").read_text())
            raise StageFailed(Reason(error["kind"]), error["message"], error["traceback"], NOTHING)
        return NOTHING

    monkeypatch.setattr(stage_runner, "run_stage", run_stage)
    fence = taken(tmp_path, run)

    def decide(answers: Callable[[int], float], *, margin: float = 0.02, minimum: int = 10) -> AlgorithmOutcome:
        answering_model(folder, "20260101", answers)
        examples = tmp_path / "examples.jsonl"
        write_texts(examples, (Example(article_id=number, text=f"text {number}", label=1 - number % 2) for number in range(80)))
        log = EventLogger(run, io.StringIO(), event_format="text")
        runner = StageRunner(run, log, ShutdownRequest(), stages_dir=run.folder(tmp_path).stages())
        gated = run.model_copy(update={"gate": GateConfig(margin=margin, minimum=minimum)})
        outcome = AlgorithmOutcome(**run.algorithms[1].model_dump(), success=True, artifact=f"{PLACE}/20260101")
        return Gate(gated, log, runner, models_dir=tmp_path, fence=fence).decide(outcome, run.algorithms[1], examples)

    return decide


def promoted(folder: Path) -> str | None:
    promotion = read_promotion(folder)
    return promotion.version if promotion else None


def test_the_first_version_is_promoted(decide: Decide, folder: Path, run: RunSpec):
    assert decide(knows).warnings == ()

    promotion = read_promotion(folder)
    assert promotion is not None
    assert (promotion.version, promotion.by, promotion.reason) == ("20260101", f"gate of run {run.run_id}", "it is the first version")
    event = RunEvent.objects.get()
    row = run.algorithms[1].run_log_id
    assert (event.kind, event.message) == ("promotion", f"row {row}: version 20260101 was promoted: it is the first version")


def test_a_better_version_is_promoted(decide: Decide, folder: Path):
    answering_model(folder, "20251201", guesses)

    assert decide(knows).warnings == ()

    numbers = "20 relevant and 20 not relevant articles from which neither has learned"
    reason = read_decisions(folder)["20260101"].reason
    assert reason.startswith("not worse than 20251201 by more than 0.02: ROC AUC +0.500 (")
    assert reason.endswith(numbers)
    assert promoted(folder) == "20260101"


def test_a_worse_version_is_refused_and_the_version_in_use_stays(decide: Decide, folder: Path):
    answering_model(folder, "20251201", knows)

    (warning,) = decide(guesses).warnings

    assert warning.startswith("version 20260101 was not promoted: worse than 20251201 by more than 0.02: ROC AUC -0.500 (")
    promotion = read_promotion(folder)
    assert promotion is not None
    assert (promotion.version, promotion.reason) == ("20251201", "it stays in use, because the gate refused 20260101")
    assert not read_decisions(folder)["20260101"].promoted


@pytest.mark.parametrize(("margin", "version"), [(0.01, "20251201"), (0.1, "20260101")])
def test_the_margin_decides_about_a_slightly_worse_version(decide: Decide, folder: Path, margin: float, version: str):
    answering_model(folder, "20251201", knows)

    decide(knows_nearly_all, margin=margin)

    assert promoted(folder) == version


def test_the_promoted_version_is_compared_and_not_the_newest(decide: Decide, folder: Path):
    answering_model(folder, "20251101", guesses)
    answering_model(folder, "20251201", knows)
    promoting.promote(folder, "20251101", seen=None, at=artifacts.read_manifest(folder / "20251101").created_at, by="ann", reason="")

    decide(knows_nearly_all, margin=0)

    assert promoted(folder) == "20260101"


def test_few_articles_promote_nothing(decide: Decide, folder: Path):
    answering_model(folder, "20251201", guesses)

    (warning,) = decide(knows, minimum=21).warnings

    numbers = "20 relevant and 20 not relevant articles from which neither has learned"
    assert warning == f"version 20260101 was not promoted: {numbers}: a comparison with 20251201 needs 21 of each"
    assert promoted(folder) == "20251201"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (errs, "its ROC AUC on the test part is 0.000, worse than chance"),
        (lambda number: 0.5, "it gives nearly the same probability to every test article (standard deviation 0)"),
    ],
)
def test_a_model_without_skill_is_never_promoted(decide: Decide, folder: Path, answers: Callable[[int], float], reason: str):
    (warning,) = decide(answers, margin=0.99).warnings

    only = "predictions use it, because there is no other version without defects"
    assert warning == f"version 20260101 was not promoted: {reason}; {only}"
    assert promoted(folder) is None


def test_a_damaged_version_in_use_fails_the_gate_and_not_the_training(decide: Decide, folder: Path):
    answering_model(folder, "20251201", guesses)
    changed = folder / "20251201" / "predictions.csv"
    changed.write_bytes(changed.read_bytes()[:-2] + b"x\n")

    outcome = decide(knows)

    cause = f"the comparison with 20251201 failed: {changed}: changed since training (sha256 differs)"
    only = "predictions use it, because there is no other version without defects"
    failed = f"version 20260101 was not promoted: {cause}; {only}"
    assert (outcome.success, outcome.warnings) == (True, (failed,))
    assert RunEvent.objects.get().message.endswith(failed)
    assert promoted(folder) is None


def test_a_version_of_an_older_release_stays_in_use_because_it_cannot_be_compared(decide: Decide, folder: Path):
    answering_model(folder, "20251201", guesses)
    described = artifacts.read_manifest(folder / "20251201")
    for name in ("manifest.json", "predictions.csv"):
        (folder / "20251201" / name).unlink()
    artifacts.write_manifest(folder / "20251201", described)

    (warning,) = decide(knows).warnings

    assert "the comparison with 20251201 failed: " in warning
    assert warning.endswith("it is not known from which articles it has learned: train the subject again")
    assert promoted(folder) == "20251201"


def test_a_promoted_version_that_was_removed_by_hand_fails_the_gate(decide: Decide, folder: Path):
    answering_model(folder, "20251201", guesses)
    promoting.promote(folder, "20251201", seen=None, at=artifacts.read_manifest(folder / "20251201").created_at, by="ann", reason="")
    shutil.rmtree(folder / "20251201")

    (warning,) = decide(knows).warnings

    assert "the gate failed" in warning
    assert "version 20251201 is promoted and has no folder" in warning


def test_a_superseded_attempt_promotes_nothing(decide: Decide, folder: Path, run: RunSpec, tmp_path: Path):
    taken(tmp_path, run.model_copy(update={"attempt": 2}))

    with pytest.raises(Superseded):
        decide(knows)

    assert promoted(folder) is None


def test_the_comparison_leaves_no_files(decide: Decide, folder: Path, run: RunSpec, tmp_path: Path):
    answering_model(folder, "20251201", guesses)

    decide(knows)

    assert list(run.folder(tmp_path).stages().iterdir()) == []
