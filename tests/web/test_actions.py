"""The actions: a question, then the action of the product, with a record of the user, also of a refused one."""

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from gregory.data import labelling
from gregory.ml.promotion import read_promotion
from gregory.models import Articles, ArticleSubjectRelevance, MLPredictions
from gregory.runs.models import OperatorAction, TrainingRun
from gregory.web import commands
from gregory.web.commands import CommandRefused
from tests.published import answering_model
from tests.web.conftest import Tenant

pytestmark = pytest.mark.django_db
VERSIONS = ("20260101", "20260102")


@pytest.fixture
def folder(ours: Tenant, models_dir: Path) -> Path:
    folder = models_dir / "ours" / "ours-subject" / "lgbm_tfidf"
    for version in VERSIONS:
        answering_model(folder, version, lambda number: 0.5)
    return folder


def recorded() -> list[tuple[str, str, str, bool]]:
    return [(action.by, action.action, action.detail, action.done) for action in OperatorAction.objects.order_by("pk")]


def promoted(folder: Path) -> str:
    promotion = read_promotion(folder)
    assert promotion is not None
    return promotion.version


def test_a_question_changes_nothing(ours: Tenant, folder: Path):
    client = ours.client
    for page in (
        reverse("admin:cancel", args=[ours.run.run_id]),
        reverse("admin:train", args=[ours.subject.pk]),
        reverse("admin:promote", args=[ours.subject.pk, "lgbm_tfidf", VERSIONS[0]]),
    ):
        assert 'method="post"' in client.get(page).content.decode()

    assert recorded() == []
    assert read_promotion(folder) is None
    assert TrainingRun.objects.get().state == "pending"


def test_promote_and_roll_back(ours: Tenant, folder: Path):
    client = ours.client
    for version in VERSIONS:
        client.post(reverse("admin:promote", args=[ours.subject.pk, "lgbm_tfidf", version]), {"reason": "because"})
    assert promoted(folder) == VERSIONS[1]

    answer = client.post(reverse("admin:rollback", args=[ours.subject.pk, "lgbm_tfidf"]), follow=True)

    promotion = read_promotion(folder)
    assert promotion is not None
    assert (promotion.version, promotion.by, promotion.history[0].reason) == (VERSIONS[0], "ours-member", "because")
    assert "version 20260101 is promoted" in answer.content.decode()
    assert [action[:2] for action in recorded()] == [("ours-member", "promote")] * 2 + [("ours-member", "rollback")]


def test_a_damaged_version_is_not_promoted(ours: Tenant, folder: Path):
    (folder / VERSIONS[0] / "metrics.json").write_text("{}")

    ours.client.post(reverse("admin:promote", args=[ours.subject.pk, "lgbm_tfidf", VERSIONS[0]]))

    assert read_promotion(folder) is None
    ((_, action, detail, done),) = recorded()
    assert (action, done) == ("promote", False)
    assert "metrics.json" in detail


def test_cancel_ends_a_queued_run_in_the_name_of_the_user(ours: Tenant):
    ours.client.post(reverse("admin:cancel", args=[ours.run.run_id]))

    run = TrainingRun.objects.get()
    assert (run.state, run.reason, run.cancelled_by) == ("cancelled", "cancelled", "ours-member on the operator pages")
    assert recorded() == [("ours-member", "cancel", f"Run {ours.run.run_id} is cancelled.", True)]


def test_a_run_that_has_ended_is_not_cancelled(ours: Tenant):
    TrainingRun.objects.update(state="succeeded")

    answer = ours.client.post(reverse("admin:cancel", args=[ours.run.run_id]), follow=True)

    assert "has ended, or has another attempt" in answer.content.decode()
    assert [action[3] for action in recorded()] == [False]


def test_a_command_without_a_run_gives_its_last_line():
    with pytest.raises(CommandRefused, match=r"^--prob-threshold 2"):
        commands.start_command("train_models", "--all-teams", "--prob-threshold", "2", user="alice", run=lambda: "")


def test_label_stores_and_changes_a_label(ours: Tenant):
    article = Articles.objects.create(title="New", link="urn:new")
    article.subjects.add(ours.subject)
    page = reverse("admin:save_label", args=[ours.subject.pk, article.pk])
    reviews = ArticleSubjectRelevance.objects.filter(article=article)

    for answer, label in (("1", True), ("0", False)):
        assert ours.client.post(page, {"label": answer}, headers={"accept": "application/json"}).json() == {
            "article": article.pk,
            "label": answer,
        }
        assert reviews.get().is_relevant is label
    assert ours.client.post(page, {"label": "2"}).status_code == 400
    assert [action[2] for action in recorded()] == [f"article {article.pk}: relevant", f"article {article.pk}: not relevant"]


def test_the_most_uncertain_article_of_the_models_in_use_comes_first(ours: Tenant, folder: Path):
    stored = {}
    for name, probability in (("sure", 0.97), ("open", 0.52), ("unlikely", 0.2)):
        article = Articles.objects.create(title=name, link=f"urn:{name}")
        article.subjects.add(ours.subject)
        stored[name] = article.pk
        for version, value in ((VERSIONS[1], probability), (VERSIONS[0], 0.5)):
            MLPredictions.objects.create(
                subject=ours.subject, article=article, model_version=f"lgbm_tfidf {version}", probability_score=value
            )
    unseen = Articles.objects.create(title="unseen", link="urn:unseen")
    unseen.subjects.add(ours.subject)

    found = labelling.candidates(ours.subject.pk, {"lgbm_tfidf": VERSIONS[1]}, limit=9)

    assert [one.title for one in found] == ["open", "unlikely", "sure", "unseen"]
    text = ours.client.get(reverse("admin:label", args=[ours.subject.pk])).content.decode()
    assert [text.index(f">{one.title}<") for one in found] == sorted(text.index(f">{one.title}<") for one in found)


def test_everything_works_without_a_models_folder(ours: Tenant, models_dir: Path, superuser: Client):
    models_dir.rmdir()

    for client in (ours.client, superuser):
        assert client.get(reverse("admin:subject", args=[ours.subject.pk])).status_code == 200
        assert client.get(reverse("admin:run", args=[ours.run.run_id])).status_code == 200
        assert client.get(reverse("admin:label", args=[ours.subject.pk])).status_code == 200
