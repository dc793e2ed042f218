"""Filters of the lists. Their choices are constants, or the teams and subjects that the user may see."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from gregory.launch.registry import RUNNERS
from gregory.ml.config import ALGORITHMS
from gregory.runs.spec import RunKind
from gregory.runs.states import RunState
from gregory.web.scope import scope_of


class _Equals(admin.SimpleListFilter):
    """Rows whose `column` has the chosen value."""

    column: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with the value. A value that is no choice selects none."""
        if self.value() is None:
            return queryset
        known = {str(value) for value, _ in self.lookup_choices}
        return queryset.filter(**{self.column: self.value()}) if self.value() in known else queryset.none()


class TeamFilter(_Equals):
    """Rows of a team."""

    title, parameter_name, column = "team", "team", "subject__team_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The teams of the user."""
        return [(str(pk), slug) for pk, slug in scope_of(request).teams.order_by("slug").values_list("pk", "slug")]


class SubjectFilter(_Equals):
    """Rows of a subject."""

    title, parameter_name, column = "subject", "subject", "subject_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The subjects of the user."""
        named = scope_of(request).subjects.order_by("team__slug", "subject_slug").values_list("pk", "team__slug", "subject_slug")
        return [(str(pk), f"{team}/{slug}") for pk, team, slug in named]


class ArticleSubjectFilter(SubjectFilter):
    """Articles of a subject."""

    column = "subjects"


class SubjectTeamFilter(TeamFilter):
    """Subjects of a team."""

    column = "team_id"


class StateFilter(_Equals):
    """Runs in a state."""

    title, parameter_name, column = "state", "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """All states."""
        return [(state.value, state.value) for state in RunState]


class KindFilter(_Equals):
    """Runs of a kind."""

    title, parameter_name, column = "kind", "kind", "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Trainings and predictions."""
        return [(kind.value, kind.value) for kind in RunKind]


class RunTypeFilter(KindFilter):
    """Log rows of a kind."""

    column = "run_type"


class RunnerFilter(_Equals):
    """Runs of a runner."""

    title, parameter_name, column = "runner", "runner", "runner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """All runners."""
        return [(name, name) for name in RUNNERS]


class AlgorithmFilter(_Equals):
    """Log rows of an algorithm."""

    title, parameter_name, column = "algorithm", "algorithm", "algorithm"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """All algorithms."""
        return [(name, name) for name in ALGORITHMS]
