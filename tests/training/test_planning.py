"""TrainingRequest -> [RunSpec] with a database and a models folder: scope, order, versions, number of queries."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gregory.ml.config import Algorithm, Hyperparameters, TrainConfig
from gregory.ml.gate import GateConfig
from gregory.ml.stratification import Prospect
from gregory.models import PredictionRunLog, Subject, Team
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunSpec, Scope
from gregory.training.planning import plan, prospects
from gregory.training.request import TrainingRequest, UsageError
from tests.database_rows import label_articles, make_subject, make_team

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2025, 6, 14, 12, 30, tzinfo=UTC)
DAY = "20250614"


def make_row(subject: Subject, algorithm: Algorithm, version: str, **fields: Any) -> None:
    values = {"run_type": "train", "success": True, **fields}
    PredictionRunLog.objects.create(team=subject.team, subject=subject, algorithm=algorithm, model_version=version, **values)


def request(**fields: Any) -> TrainingRequest:
    values: dict[str, Any] = {
        "team": "neurology",
        "subject": None,
        "lookback_days": 90,
        "algorithms": ("lgbm_tfidf",),
        "version": None,
        "config": TrainConfig(hyperparameters=Hyperparameters()),
        "verbosity": 1,
    }
    return TrainingRequest(**(values | fields))


def planned(models: Path, **fields: Any) -> list[RunSpec]:
    return plan(request(**fields), models_dir=models, now=NOW, require_gpu=False)


def versions(specs: list[RunSpec]) -> dict[str, str]:
    return {algorithm.algorithm: algorithm.version for spec in specs for algorithm in spec.algorithms}


def refusal(models: Path, **fields: Any) -> str:
    with pytest.raises(UsageError) as caught:
        planned(models, **fields)
    return str(caught.value)


@pytest.fixture
def ms() -> Subject:
    return make_subject(make_team("neurology"), "ms")


def test_a_specification_has_all_input_of_a_run(ms, tmp_path):
    (spec,) = planned(tmp_path, subject="ms", algorithms=("lstm", "lgbm_tfidf"), verbosity=3)

    assert (spec.team, spec.subject) == (Scope(id=ms.team.pk, slug="neurology"), Scope(id=ms.pk, slug="ms"))
    assert [(a.algorithm, a.version, a.run_log_id) for a in spec.algorithms] == [("lstm", DAY, 0), ("lgbm_tfidf", DAY, 0)]
    assert spec.window.cutoff == datetime(2025, 3, 16, 12, 30, tzinfo=UTC)
    assert spec.window.description == "articles of the last 90 days, discovered since 2025-03-16 12:30 UTC"
    assert (spec.config, spec.verbosity, spec.attempt) == (TrainConfig(), 3, 1)
    assert len(spec.run_id) == 12


def test_planning_writes_nothing(ms, tmp_path):
    planned(tmp_path)
    assert (PredictionRunLog.objects.count(), TrainingRun.objects.count(), list(tmp_path.iterdir())) == (0, 0, [])


def test_every_run_has_its_own_id_and_token(ms, tmp_path):
    make_subject(ms.team, "migraine")
    first, second = planned(tmp_path)
    assert first.run_id != second.run_id
    assert first.attempt_token != second.attempt_token


def test_the_subjects_of_a_team_are_ordered_by_slug(tmp_path):
    neurology, oncology = make_team("neurology"), make_team("oncology")
    for team, slug in ((neurology, "stroke"), (oncology, "lung"), (neurology, "als"), (neurology, "ms")):
        make_subject(team, slug)
    assert [spec.label for spec in planned(tmp_path)] == ["neurology/als", "neurology/ms", "neurology/stroke"]


def test_all_teams_are_ordered_by_team_and_subject(tmp_path):
    zoology, anatomy = make_team("zoology"), make_team("anatomy")
    for team, slug in ((zoology, "ants"), (anatomy, "ribs"), (zoology, "aardvarks"), (anatomy, "arms")):
        make_subject(team, slug)
    labels = [spec.label for spec in planned(tmp_path, team=None)]
    assert labels == ["anatomy/arms", "anatomy/ribs", "zoology/aardvarks", "zoology/ants"]


def test_a_subject_slug_of_two_teams_means_that_of_the_given_team(ms, tmp_path):
    make_subject(make_team("oncology"), "ms")
    (spec,) = planned(tmp_path, subject="ms")
    assert (spec.label, spec.subject.id) == ("neurology/ms", ms.pk)


def test_a_subject_without_a_team_is_left_out(ms, tmp_path):
    make_subject(None, "orphan")
    assert [spec.label for spec in planned(tmp_path, team=None)] == ["neurology/ms"]


def test_subjects_without_a_team_alone_are_refused(tmp_path):
    make_subject(None, "orphan")
    assert refusal(tmp_path, team=None) == "--all-teams: no team has a subject; create one in GregoryAI, or run load_demo"


def test_an_empty_database_is_refused(tmp_path):
    assert refusal(tmp_path, team=None) == "--all-teams: no team has a subject; create one in GregoryAI, or run load_demo"


def test_an_unknown_team_is_refused_with_the_known_teams(tmp_path):
    assert refusal(tmp_path, team="x") == "unknown team 'x'; teams: none"
    for slug in ("b", "a"):
        make_team(slug)
    assert refusal(tmp_path, team="x") == "unknown team 'x'; teams: a, b"


def test_the_list_of_known_teams_is_limited(tmp_path):
    for number in range(12):
        make_team(f"t{number:02}")
    assert refusal(tmp_path, team="x") == "unknown team 'x'; teams: t00, t01, t02, t03, t04, t05, t06, t07, t08, t09 and 2 more"


def test_an_unknown_subject_is_refused_with_those_of_the_team(ms, tmp_path):
    make_subject(make_team("oncology"), "lung")
    assert refusal(tmp_path, subject="lung") == "team 'neurology' has no subject 'lung'; its subjects: ms"


def test_a_team_without_a_subject_is_refused(tmp_path):
    make_team("neurology")
    assert refusal(tmp_path) == "team 'neurology' has no subject"
    assert refusal(tmp_path, subject="ms") == "team 'neurology' has no subject 'ms'; its subjects: none"


@pytest.mark.parametrize("slug", ["..", ".hidden", "a/b", "a\\b", ""])
def test_a_subject_slug_that_cannot_be_a_folder_is_refused(ms, tmp_path, slug: str):
    Subject.objects.filter(pk=ms.pk).update(subject_slug=slug)
    assert refusal(tmp_path) == f"the slug {slug!r} cannot be a folder of the models volume; correct it in GregoryAI's admin"


def test_a_team_slug_that_cannot_be_a_folder_is_refused(ms, tmp_path):
    Team.objects.update(slug="../etc")
    assert refusal(tmp_path, team=None) == "the slug '../etc' cannot be a folder of the models volume; correct it in GregoryAI's admin"


def test_the_longest_possible_slug_is_planned(tmp_path):
    slug = "ẞ" * 50
    make_subject(make_team(slug), slug)
    (spec,) = planned(tmp_path, team=slug, subject=slug)
    assert spec.label == f"{slug}/{slug}"


def test_the_next_version_is_free_in_rows_and_folders(ms, tmp_path):
    make_row(ms, "lgbm_tfidf", DAY)
    assert versions(planned(tmp_path)) == {"lgbm_tfidf": f"{DAY}_2"}
    (tmp_path / "neurology" / "ms" / "lgbm_tfidf" / f"{DAY}_2").mkdir(parents=True)
    assert versions(planned(tmp_path)) == {"lgbm_tfidf": f"{DAY}_3"}
    make_row(ms, "lgbm_tfidf", f"{DAY}_3", success=False)
    make_row(ms, "lgbm_tfidf", f"{DAY}_4", success=None)
    assert versions(planned(tmp_path)) == {"lgbm_tfidf": f"{DAY}_5"}


def test_a_folder_without_a_row_takes_its_version(ms, tmp_path):
    (tmp_path / "neurology" / "ms" / "lgbm_tfidf" / DAY).mkdir(parents=True)
    assert versions(planned(tmp_path)) == {"lgbm_tfidf": f"{DAY}_2"}


def test_each_algorithm_has_its_own_versions(ms, tmp_path):
    make_row(ms, "lstm", DAY)
    (tmp_path / "neurology" / "ms" / "pubmed_bert" / DAY).mkdir(parents=True)
    specs = planned(tmp_path, algorithms=("pubmed_bert", "lgbm_tfidf", "lstm"))
    assert versions(specs) == {"pubmed_bert": f"{DAY}_2", "lgbm_tfidf": DAY, "lstm": f"{DAY}_2"}


def test_each_subject_has_its_own_versions(ms, tmp_path):
    other = make_subject(make_team("oncology"), "ms")
    make_row(other, "lgbm_tfidf", DAY)
    (tmp_path / "oncology" / "ms" / "lgbm_tfidf" / f"{DAY}_2").mkdir(parents=True)
    assert [spec.algorithms[0].version for spec in planned(tmp_path, team=None)] == [DAY, f"{DAY}_3"]


def test_predictions_and_other_days_take_no_version(ms, tmp_path):
    make_row(ms, "lgbm_tfidf", DAY, run_type="predict")
    make_row(ms, "lgbm_tfidf", "20250613")
    make_row(ms, "lgbm_tfidf", "pending")
    assert versions(planned(tmp_path)) == {"lgbm_tfidf": DAY}


def test_a_given_version_is_used_unchanged(ms, tmp_path):
    specs = planned(tmp_path, version="v1.0", algorithms=("lgbm_tfidf", "lstm"))
    assert versions(specs) == {"lgbm_tfidf": "v1.0", "lstm": "v1.0"}


def taken(version: str) -> str:
    return f"--version {version}: neurology/ms/lstm already has this version; versions are never overwritten, choose another"


@pytest.mark.parametrize("success", [True, None])
def test_a_given_version_of_a_row_is_refused(ms, tmp_path, success: bool | None):
    make_row(ms, "lstm", "v1", success=success)
    assert refusal(tmp_path, version="v1", algorithms=("lgbm_tfidf", "lstm")) == taken("v1")


def test_the_given_version_of_a_failed_training_can_be_given_again(ms, tmp_path):
    make_row(ms, "lstm", "v1", success=False)
    assert versions(planned(tmp_path, version="v1", algorithms=("lstm",))) == {"lstm": "v1"}


def test_a_date_of_a_failed_training_is_not_repeated(ms, tmp_path):
    make_row(ms, "lstm", DAY, success=False)
    assert versions(planned(tmp_path, algorithms=("lstm",))) == {"lstm": f"{DAY}_2"}


def test_a_given_version_of_a_folder_is_refused(ms, tmp_path):
    (tmp_path / "neurology" / "ms" / "lstm" / "v1").mkdir(parents=True)
    assert refusal(tmp_path, version="v1", algorithms=("lgbm_tfidf", "lstm")) == taken("v1")


def test_a_subject_of_a_deleted_team_is_left_out(ms, tmp_path):
    # Where a foreign key was lost, a delete leaves such rows.
    make_subject(make_team("oncology"), "melanoma")
    with connection.constraint_checks_disabled():
        Team.objects.filter(slug="oncology")._raw_delete(using="default")
        assert [spec.label for spec in planned(tmp_path, team=None)] == ["neurology/ms"]
        Subject.objects.filter(subject_slug="melanoma").delete()


def test_twenty_subjects_need_as_many_queries_as_one(tmp_path):
    neurology, oncology = make_team("neurology"), make_team("oncology")
    make_row(make_subject(neurology, "ms"), "lgbm_tfidf", DAY)
    for number in range(20):
        make_row(make_subject(oncology, f"s{number:02}"), "lgbm_tfidf", DAY)

    def cost(team: str | None) -> tuple[int, int]:
        with CaptureQueriesContext(connection) as queries:
            specs = planned(tmp_path, team=team, algorithms=("pubmed_bert", "lgbm_tfidf", "lstm"))
        return len(specs), len(queries)

    assert (cost("neurology"), cost("oncology"), cost(None)) == ((1, 4), (20, 4), (21, 3))


def test_subjects_whose_labels_cannot_be_split_are_found_in_one_query(ms, tmp_path):
    four, old, empty = (make_subject(ms.team, slug) for slug in ("four", "old", "empty"))
    label_articles(ms, discovered=NOW)
    label_articles(four, relevant=40, not_relevant=4, discovered=NOW)
    label_articles(old, discovered=NOW - timedelta(days=91))
    specs = planned(tmp_path)
    with CaptureQueriesContext(connection) as captured:
        found = prospects(specs)
    assert len(captured) == 1
    assert (found[four.pk].relevant, found[four.pk].not_relevant) == (40, 4)
    assert unsplittable(found) == {four.pk, old.pk, empty.pk}
    assert ": 6 articles of each class are always enough, there are 40 relevant and 4 not relevant; label more" in str(found[four.pk].error)
    assert str(found[old.pk].error).startswith("no labelled article in the data window; ")
    assert unsplittable(prospects(planned(tmp_path, lookback_days=None))) == {four.pk, empty.pk}
    assert prospects([]) == {}


def unsplittable(found: dict[int, Prospect]) -> set[int]:
    return {subject for subject, one in found.items() if one.error is not None}


def test_the_specification_has_the_gate_and_none_without_it(ms, tmp_path: Path):
    gate = GateConfig(margin=0.02, minimum=5)
    (without,) = plan(request(subject="ms"), models_dir=tmp_path, now=NOW, require_gpu=False)
    (spec,) = plan(request(subject="ms", gate=gate), models_dir=tmp_path, now=NOW, require_gpu=False)

    assert RunSpec.model_validate_json(spec.model_dump_json()).gate == gate
    assert "gate" not in without.model_dump(mode="json")
