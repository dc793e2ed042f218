"""What a user may see and do. Every view reads through these functions.

A superuser sees all. Other users see the teams of their organizations. To change something, they also need a permission of Django.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest
from organizations.models import OrganizationUser

from gregory.ml import artifacts
from gregory.models import Articles, ArticleSubjectRelevance, PredictionRunLog, Subject, Team
from gregory.runs.models import OperatorAction, TrainingRun

# Django makes a permission of this name for every table. Its owner gives it to users and groups.
OPERATE, LABEL = "gregory_runs.change_trainingrun", "gregory.change_articlesubjectrelevance"
Row = TypeVar("Row", bound=Model)


def user_of(request: HttpRequest) -> User:
    """The user who is logged in. The middleware lets nobody else through."""
    user: AbstractBaseUser | AnonymousUser = request.user
    if not isinstance(user, User):
        raise PermissionDenied("log in first")
    return user


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows that one user may see."""

    user: User

    @property
    def teams(self) -> QuerySet[Team]:
        """The teams of the user's organizations."""
        if self.user.is_superuser:
            return Team.objects.all()
        return Team.objects.filter(organization__in=OrganizationUser.objects.filter(user=self.user).values("organization_id"))

    @property
    def subjects(self) -> QuerySet[Subject]:
        """The subjects of these teams. A subject without a team is for superusers."""
        return Subject.objects.all() if self.user.is_superuser else Subject.objects.filter(team__in=self.teams.values("pk"))

    @property
    def runs(self) -> QuerySet[TrainingRun]:
        """The runs of these subjects. The run of a deleted subject is for superusers."""
        return self._of_subjects(TrainingRun.objects.all(), "subject_id__in")

    @property
    def log(self) -> QuerySet[PredictionRunLog]:
        """The rows of the run log."""
        return self._of_subjects(PredictionRunLog.objects.all(), "subject_id__in")

    @property
    def reviews(self) -> QuerySet[ArticleSubjectRelevance]:
        """The reviews of articles."""
        return self._of_subjects(ArticleSubjectRelevance.objects.all(), "subject_id__in")

    @property
    def articles(self) -> QuerySet[Articles]:
        """The articles of these subjects."""
        if self.user.is_superuser:
            return Articles.objects.all()
        members = Articles.subjects.through.objects.filter(subject_id__in=self.subjects.values("pk"))
        return Articles.objects.filter(pk__in=members.values("articles_id"))

    @property
    def actions(self) -> QuerySet[OperatorAction]:
        """The actions of users."""
        return self._of_subjects(OperatorAction.objects.all(), "subject_id__in")

    def _of_subjects(self, rows: QuerySet[Row], lookup: str) -> QuerySet[Row]:
        return rows if self.user.is_superuser else rows.filter(**{lookup: self.subjects.values("pk")})


def scope_of(request: HttpRequest) -> Scope:
    """The rows that the user of the request may see."""
    return Scope(user_of(request))


def run_or_404(request: HttpRequest, run_id: str) -> TrainingRun:
    """The run. A run of another team does not exist for the user."""
    run = scope_of(request).runs.filter(pk=run_id).first()
    if run is None:
        raise Http404(f"there is no run {run_id}")
    return run


def subject_or_404(request: HttpRequest, subject_id: int) -> Subject:
    """The subject with its team. A subject of another team does not exist for the user."""
    subject = scope_of(request).subjects.select_related("team").filter(pk=subject_id, team__isnull=False).first()
    if subject is None:
        raise Http404(f"there is no subject {subject_id}")
    return subject


def label_of(subject: Subject) -> str:
    """team/subject, by slugs."""
    return f"{subject.team.slug if subject.team else ''}/{subject.subject_slug}"


def folder_of(subject: Subject) -> Path:
    """The folder of the subject's models, which may not exist."""
    return artifacts.subject_folder(settings.MODELS_DIR, team=subject.team.slug if subject.team else "", subject=subject.subject_slug)


def is_linked(folder: Path) -> bool:
    """Whether a folder below the models folder is a symbolic link, or is below one. A run could lead a page to another team with it."""
    below = folder.relative_to(settings.MODELS_DIR)
    # The models folder itself may be a link of the operator.
    return any((settings.MODELS_DIR / part).is_symlink() for part in (below, *below.parents[:-1]))


def require(request: HttpRequest, permission: str) -> None:
    """Raises PermissionDenied if the user lacks the permission."""
    if not user_of(request).has_perm(permission):
        raise PermissionDenied(f"this needs the permission {permission}")
