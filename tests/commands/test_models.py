"""`models` lists versions, chooses the one that predictions use, and removes old ones. It works without a database."""

import getpass
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gregory.ml.evaluator import evaluate
from gregory.ml.promotion import complete_versions, read_promotion
from tests.commands.command_line import Result, Shell
from tests.ml.test_promoting import model
from tests.published import answering_model

ME = f"{getpass.getuser()}@{socket.gethostname()}"
SUBJECT = ("--team", "team", "--subject", "subject")
Models = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """An algorithm with three versions."""
    settings.MODELS_DIR = tmp_path / "models"
    algorithm: Path = settings.MODELS_DIR / "team" / "subject" / "lstm"
    for version in ("20260101", "20260102", "20260103"):
        model(algorithm, version)
    return algorithm


@pytest.fixture
def models(folder: Path, shell: Shell) -> Models:
    """Call `models`, by default with the flags of the subject."""

    def models(action: str, *flags: str, scope: tuple[str, ...] = SUBJECT) -> Result:
        return shell("models", action, *scope, *flags)

    return models


def refused(done: Result, code: int) -> str:
    """The only line of an error."""
    assert (done.code, done.out) == (code, "")
    return done.err.removeprefix("CommandError: ").rstrip("\n")


def test_metrics_that_are_no_numbers_are_left_out(models: Models, folder: Path):
    (folder / "20260103" / "metrics.json").write_text('{"test_f1": "high", "test_roc_auc": 0.5, "test_pr_auc": null}')

    assert models("list", scope=()).out.splitlines()[2].split()[-4:-1] == ["0.500", "-", "-"]


def test_damaged_metrics_are_a_problem_of_the_version(models: Models, folder: Path):
    (folder / "20260103" / "metrics.json").write_text("{")

    assert f"problem: {folder}/20260103/metrics.json: not valid JSON" in models("show", "20260103").out.splitlines()


def test_the_list_names_the_used_version(models: Models):
    assert models("list", scope=()).out.splitlines() == [
        "team/subject    algorithm    version    trained           articles    ROC AUC    PR AUC    f1     used    notes",
        "--------------  -----------  ---------  ----------------  ----------  ---------  --------  -----  ------  -------",
        "team/subject    lstm         20260103   2026-01-01 00:00  9           -          -         0.250  newest",
        "team/subject    lstm         20260102   2026-01-01 00:00  9           -          -         0.250",
        "team/subject    lstm         20260101   2026-01-01 00:00  9           -          -         0.250",
    ]


def test_the_list_of_an_empty_folder(shell: Shell, settings: Any, tmp_path: Path):
    settings.MODELS_DIR = tmp_path

    assert shell("models", "list") == Result(0, "no version\n", "")


def test_the_list_names_a_damaged_manifest_and_the_other_versions(models: Models, folder: Path):
    (folder / "20260102" / "manifest.json").write_text("{")

    listed = json.loads(models("list", "--output", "json").out)

    assert [(one["version"], one["articles"], one["used"]) for one in listed] == [
        ("20260103", 9, True), ("20260102", None, False), ("20260101", 9, False),
    ]  # fmt: skip
    assert listed[1]["problem"].startswith(f"{folder / '20260102'}: manifest.json is damaged: ")


def test_a_promoted_version_is_used_until_the_rollback(models: Models, folder: Path):
    assert models("promote", "20260101", "--reason", "first").out == f"{folder}: version 20260101 is promoted\n"
    assert models("promote", "20260102").out == f"{folder}: version 20260102 is promoted, before: 20260101\n"
    assert [one["version"] for one in json.loads(models("list", "--output", "json").out) if one["promoted"] and one["used"]] == ["20260102"]

    done = models("rollback", "--reason", "worse", "--output", "json")

    assert done.err == f"{folder}: version 20260101 is promoted, before: 20260102\n"
    (change,) = json.loads(done.out)
    del change["at"]
    assert change == {
        "folder": str(folder), "previous": "20260102", "version": "20260101", "by": ME, "reason": "worse", "action": "rollback",
    }  # fmt: skip


def test_a_promoted_copy_of_another_subject_is_named(models: Models, folder: Path):
    there = folder.parent.with_name("renamed") / folder.name
    shutil.copytree(folder, there)

    done = models("promote", "20260101", scope=("--team", "team", "--subject", "renamed"))

    assert done.code == 0
    assert done.err == (
        f"warning: {there}/20260101: holds team/subject/lstm/20260101; it was moved or copied here; "
        "a prediction uses it only if this subject trained it under its earlier name\n"
    )


def test_a_second_promotion_of_a_version_changes_nothing(models: Models, folder: Path):
    models("promote", "20260101")
    before = read_promotion(folder)
    assert before is not None

    done = models("promote", "20260101")

    assert done.out == f"{folder}: version 20260101 is promoted already, by {ME} at {before.at:%Y-%m-%d %H:%M}\n"
    assert read_promotion(folder) == before


def test_a_version_is_shown(models: Models, folder: Path):
    models("promote", "20260102", "--reason", "better recall")

    shown = models("show", "20260102").out.splitlines()

    assert shown[:2] == ["team/subject/lstm/20260102: promoted", f"  folder: {folder / '20260102'}"]
    assert any(line.endswith(f"{ME} promoted it: better recall") for line in shown)
    (facts,) = json.loads(models("show", "20260102", "--output", "json").out)
    assert (facts["articles"], facts["promotions"][0]["reason"]) == (9, "better recall")


def test_the_operating_points_of_a_version_are_shown(models: Models, folder: Path):
    labels, probabilities = np.array([0, 1] * 20, dtype=np.int8), np.linspace(0, 1, 40)
    evaluation = evaluate(validation=(labels, probabilities), test=(labels, probabilities), threshold=0.5, history=[])
    (folder / "20260102" / "evaluation.json").write_text(evaluation.encode())

    shown = models("show", "20260102").out.splitlines()

    head = next(index for index, line in enumerate(shown) if line.startswith("choice"))
    assert shown[head].split() == ["choice", "threshold", "selected", "found", "precision", "recall", "work", "saved"]
    assert shown[head + 2].split()[:3] == ["0.5", "0.5", "20"]


def test_an_unknown_version_is_named_with_the_known_ones(models: Models):
    known = "lstm: 20260101, 20260102, 20260103"
    for action in ("show", "promote"):
        assert refused(models(action, "20260109"), 2) == f"there is no version 20260109 of any algorithm; the versions: {known}"


def test_a_place_without_models_is_named(models: Models, folder: Path):
    place = f"the models folder {folder.parents[2]} has no models of"
    remedy = "list them with: python manage.py models list"
    assert refused(models("promote", "1", scope=("--team", "team", "--subject", "ms")), 2) == f"{place} team/ms; {remedy}"
    assert refused(models("list", "--algo", "pubmed_bert", scope=()), 2) == f"{place} pubmed_bert; {remedy}"
    unknown = "--algo 'svm': unknown algorithm svm; choose from pubmed_bert, lgbm_tfidf, lstm"
    assert refused(models("list", "--algo", "svm"), 2) == unknown


def test_a_missing_models_folder_is_an_error(shell: Shell, settings: Any, tmp_path: Path):
    settings.MODELS_DIR = tmp_path / "models"

    done = shell("models", "list")

    assert refused(done, 1).startswith(f"the models folder {tmp_path / 'models'} does not exist; mount its volume")


def test_a_flipped_bit_prevents_the_promotion(models: Models, folder: Path):
    changed = folder / "20260102" / "metrics.json"
    changed.write_bytes(bytes([changed.read_bytes()[0] ^ 1]) + changed.read_bytes()[1:])

    assert refused(models("promote", "20260102"), 1) == f"{changed}: changed since training (sha256 differs)"
    assert read_promotion(folder) is None


def test_an_expected_version_that_is_not_promoted_prevents_the_promotion(models: Models, folder: Path):
    assert models("promote", "20260101", "--expect", "none").code == 0
    present = read_promotion(folder)
    assert present is not None

    done = models("promote", "20260103", "--expect", "20260102")

    by = f"(by {ME} at {present.at:%Y-%m-%d %H:%M})"
    expected = f"{folder}: promoted is 20260101 {by} and not 20260102, as --expect requires; nothing was changed"
    assert refused(done, 1) == expected
    assert read_promotion(folder) == present


def test_a_promoted_version_that_was_removed_by_hand_is_named(models: Models, folder: Path):
    models("promote", "20260102")
    shutil.rmtree(folder / "20260102")

    done = models("prune", "--keep", "1", "--yes")

    remedy = f"restore it, promote another, or delete {folder / 'promoted.json'}"
    problem = f"{folder}: version 20260102 is promoted and has no folder; {remedy}"
    assert refused(done, 1) == problem
    listed = json.loads(models("list", "--output", "json").out)
    assert [(one["version"], one["used"], one["problem"]) for one in listed] == [("20260103", False, problem), ("20260101", False, problem)]
    assert models("promote", "20260103").code == 0


def test_a_rollback_without_an_earlier_promotion_is_refused(models: Models):
    models("promote", "20260102")

    done = models("rollback")

    assert refused(done, 1) == "team/subject: no version was promoted before the present one; promote one by its name"


def test_pruning_prints_its_plan_first(models: Models, folder: Path):
    models("promote", "20260101")

    done = models("prune", "--keep", "1", "--dry-run")

    assert done == Result(0, f"would remove: {folder / '20260102'} (0.0 MiB)\n", "")
    assert len(complete_versions(folder)) == 3
    assert models("prune", "--keep", "1", "--yes").out.splitlines() == [f"to remove: {folder / '20260102'} (0.0 MiB)", "removed 1 version"]
    assert complete_versions(folder) == ["20260101", "20260103"]


def test_pruning_tells_that_nothing_would_be_removed(models: Models):
    assert models("prune", "--keep", "9", "--dry-run") == Result(0, "nothing would be removed with --keep 9\n", "")


def test_pruning_without_a_terminal_needs_yes(models: Models, folder: Path):
    done = models("prune", "--keep", "1")

    assert done.code == 2
    assert done.err == "CommandError: the command asks on a terminal before it removes anything; without one, give --yes\n"
    assert len(complete_versions(folder)) == 3


def test_pruning_to_no_version_is_refused(models: Models):
    assert refused(models("prune", "--keep", "0"), 2) == "--keep 0 must be at least 1"


@pytest.fixture
def lgbm(folder: Path) -> Path:
    """Two versions of another algorithm: the first one guesses, the second one knows."""
    algorithm = folder.with_name("lgbm_tfidf")
    answering_model(algorithm, "20260201", lambda number: 0.9 if number % 3 else 0.1)
    answering_model(algorithm, "20260202", lambda number: 0.9 if number % 2 == 0 else 0.1)
    return algorithm


def test_two_versions_are_compared_on_articles_from_which_neither_has_learned(models: Models, lgbm: Path):
    said = models("compare", "20260201", "lgbm_tfidf/20260202").out.splitlines()

    assert said[:2] == [
        "lgbm_tfidf/20260202 against lgbm_tfidf/20260201: better",
        "Compared: 20 relevant and 20 not relevant articles. Left out: 40 from which a model has learned.",
    ]
    assert said[4].split()[:5] == ["ROC", "AUC", "0.475", "1.000", "+0.525"]
    assert "21 articles that only one of them selects:" in said


def test_a_version_is_not_compared_with_itself(models: Models, lgbm: Path):
    message = "lgbm_tfidf/20260201 cannot be compared with itself: name two versions"
    assert refused(models("compare", "20260201", "lgbm_tfidf/20260201"), 2) == message


def test_a_comparison_as_json(models: Models, lgbm: Path):
    done = json.loads(models("compare", "20260202", "20260201", "--output", "json").out)

    assert (done["first"], done["second"], done["conclusion"]) == ("lgbm_tfidf/20260202", "lgbm_tfidf/20260201", "worse")
    assert (done["relevant"], done["not_relevant"], done["learned"], done["flipped"]) == (20, 20, 40, 21)


def test_a_conclusion_needs_articles(models: Models, lgbm: Path):
    done = models("compare", "20260201", "20260202", "--minimum", "21")
    assert done.err == ""
    said = done.out.splitlines()

    assert said[0].endswith(": cannot be told")
    assert said[2] == "A conclusion needs 21 articles of each class."


def test_versions_of_two_subjects_are_not_compared(models: Models, lgbm: Path):
    other = "team/other/lgbm_tfidf/20260202"

    done = refused(models("compare", "20260201", other), 2)

    assert done == f"{other} is of another subject than team/subject: models of two subjects answer different questions"


def test_a_version_of_two_algorithms_must_be_named_in_full(models: Models, lgbm: Path):
    model(lgbm.with_name("lstm"), "20260201")

    done = refused(models("compare", "20260201", "20260202"), 2)

    assert done == "20260201 is a version of 2 algorithms: write lgbm_tfidf/20260201, or give --algo"
    assert models("compare", "20260201", "20260202", "--algo", "lgbm_tfidf").code == 0


def test_a_flipped_bit_prevents_a_comparison(models: Models, lgbm: Path):
    changed = lgbm / "20260201" / "predictions.csv"
    changed.write_bytes(changed.read_bytes()[:-2] + b"x\n")

    assert refused(models("compare", "20260201", "20260202"), 1) == f"{changed}: changed since training (sha256 differs)"


def test_a_model_of_an_older_release_cannot_be_compared(models: Models, lgbm: Path, folder: Path):
    done = refused(models("compare", "lstm/20260103", "lgbm_tfidf/20260202"), 1)

    text = "an older release trained this model and wrote no predictions.csv, so it is not known from which articles it has learned"
    assert done == f"{folder / '20260103'}: {text}: train the subject again"


def test_the_page_of_a_subject_has_the_models_together_and_the_history(models: Models, lgbm: Path, folder: Path):
    models("promote", "20260101", "--reason", "trial <1>")

    done = models("report")

    page = folder.parent / "report.html"
    assert done.out == f"{page}\n"
    text = page.read_text()
    assert "from 40 reviewed articles, 20 of them relevant." in text
    assert '<tr><th scope="row">lgbm_tfidf</th><td>20</td><td>20</td><td>1.00</td><td>1.00</td></tr>' in text
    assert "trial &lt;1&gt;" in text
    assert "<li>lstm 20260101: an older release trained it and kept no predictions." in text
    assert json.loads(models("report", "--output", "json").out) == [str(page)]


def test_the_page_of_a_subject_with_a_changed_model_says_so(models: Models, lgbm: Path):
    changed = lgbm / "20260202" / "predictions.csv"
    changed.write_bytes(changed.read_bytes()[:-2] + b"x\n")

    models("report")

    text = (lgbm.parent / "report.html").read_text()
    assert f"{changed}: changed since training (sha256 differs)" in text
    assert "The models together" not in text
