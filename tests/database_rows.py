"""Teams, subjects and training runs as tests need them in the database."""

from datetime import UTC, datetime

from organizations.models import Organization

from gregory.ml.config import TrainConfig
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team
from gregory.runs import store
from gregory.runs.reasons import Reason
from gregory.runs.spec import (
    AlgorithmOutcome,
    AlgorithmSpec,
    PredictSpec,
    RunHandle,
    RunSpec,
    Scope,
    TrainSpec,
    Window,
    new_run_id,
    new_token,
)

# Tests set the clock.
IN_EVERY_WINDOW = datetime(2100, 1, 1, tzinfo=UTC)
HERE = RunHandle(host="here", name="1", uid="1")


def make_team(slug: str) -> Team:
    return Team.objects.create(slug=slug, organization=Organization.objects.create(name=slug))


def make_subject(team: Team | None, slug: str) -> Subject:
    return Subject.objects.create(team=team, subject_slug=slug, subject_name=slug)


def label_articles(subject: Subject, *, relevant: int = 6, not_relevant: int = 6, discovered: datetime = IN_EVERY_WINDOW) -> None:
    """Add reviewed articles to a subject. The default is enough for a training."""
    labels = [True] * relevant + [False] * not_relevant
    articles = [
        Articles.objects.create(
            title=f"Title {number}",
            link=f"urn:test:{subject.pk}:{number}",
            summary="Words.",
            discovery_date=discovered,
        )
        for number in range(len(labels))
    ]
    ArticleSubjectRelevance.objects.bulk_create(
        ArticleSubjectRelevance(article=article, subject=subject, is_relevant=label)
        for article, label in zip(articles, labels, strict=True)
    )


def planned(subject: Subject, *, version: str = "20260101") -> RunSpec:
    return TrainSpec(
        run_id=new_run_id(),
        attempt_token=new_token(),
        team=Scope(id=subject.team_id, slug="team"),
        subject=Scope(id=subject.pk, slug="subject"),
        algorithms=tuple(AlgorithmSpec(algorithm=name, run_log_id=0, version=version) for name in ("lstm", "lgbm_tfidf")),
        config=TrainConfig(),
        window=Window(cutoff=None, description="all articles"),
    )


def prediction(subject_id: int, *, team_id: int, version: str = "20260101") -> PredictSpec:
    return PredictSpec(
        run_id=new_run_id(),
        attempt_token=new_token(),
        team=Scope(id=team_id, slug="team"),
        subject=Scope(id=subject_id, slug="subject"),
        algorithms=(AlgorithmSpec(algorithm="lgbm_tfidf", run_log_id=0, version=version),),
        window=Window(cutoff=None, description="all articles"),
        digests={},
    )


def opened(subject: Subject, **kwargs: str) -> RunSpec:
    return store.open_run(planned(subject, **kwargs), runner="local", handle=HERE, triggered_by="a test")


def outcome(spec: RunSpec, position: int = 0, *, success: bool = True, error: str = "") -> AlgorithmOutcome:
    algorithm = spec.algorithms[position]
    return AlgorithmOutcome(
        algorithm=algorithm.algorithm,
        run_log_id=algorithm.run_log_id,
        version=algorithm.version,
        success=success,
        error=error,
        reason=None if success else Reason.ERROR,
        metrics={"test_f1": 0.5} if success else {},
    )
