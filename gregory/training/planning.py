"""TrainingRequest -> [TrainSpec]: find the subjects and choose the versions. Reads the database and the models folder. Writes nothing."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from gregory.data import corpus, schema
from gregory.ml import artifacts, versions
from gregory.ml.config import Algorithm
from gregory.ml.stratification import Prospect, prospect
from gregory.models import PredictionRunLog, Subject, Team
from gregory.output import one_line
from gregory.runs.db_retry import read_only_transaction
from gregory.runs.spec import AlgorithmSpec, RunKind, Scope, TrainSpec, new_run_id, new_token
from gregory.training.request import TrainingRequest, UsageError

Recorded = dict[tuple[int, str], set[str]]


def plan(request: TrainingRequest, *, models_dir: Path, now: datetime, require_gpu: bool) -> list[TrainSpec]:
    """One TrainSpec per subject, ordered by team slug and subject slug. The run log ids are still 0.

    Raises UsageError for an unknown slug, a slug that cannot be a folder name, and a given version that already exists.
    """
    with read_only_transaction():
        found = subjects(request.team, request.subject)
        # A failed training left no folder, so its version can be given again. A version by date is never repeated.
        recorded = recorded_versions([subject.pk for subject in found], request.algorithms, of_failures=request.version is None)
    window = corpus.window(request.lookback_days, now=now)
    specs = []
    for subject in found:
        team = team_of(subject)
        specs.append(
            TrainSpec(
                run_id=new_run_id(),
                attempt_token=new_token(),
                team=Scope(id=team.pk, slug=team.slug),
                subject=Scope(id=subject.pk, slug=subject.subject_slug),
                algorithms=tuple(
                    _algorithm_spec(request, subject, algorithm, recorded[subject.pk, algorithm], models_dir, now)
                    for algorithm in request.algorithms
                ),
                config=request.config,
                window=window,
                require_gpu=require_gpu,
                gate=request.gate,
                verbosity=request.verbosity,
                titles=request.titles,
            )
        )
    return specs


def team_of(subject: Subject) -> Team:
    """The team of a subject from `subjects`. Raises UsageError if one of the two slugs cannot be a folder name."""
    team = subject.team
    assert team is not None  # noqa: S101 - subjects() selects through the team
    for slug in (team.slug, subject.subject_slug):
        require_folder_name(slug)
    return team


def require_folder_name(slug: str) -> None:
    """Raise UsageError if a slug cannot be the name of a folder."""
    if not artifacts.is_folder_name(slug):
        raise UsageError(f"the slug {slug!r} cannot be a folder of the models volume; correct it in GregoryAI's admin")
    try:
        os.fsencode(slug)
    except UnicodeEncodeError as error:
        raise UsageError(f"the slug {slug!r} has letters that file names in {error.encoding} lack; set PYTHONUTF8=1") from error


def prospects(specs: Sequence[TrainSpec]) -> dict[int, Prospect]:
    """The labels of the subjects by subject id, and whether they are enough. specs: of one plan, so they have one data window."""
    if not specs:
        return {}
    with read_only_transaction():
        counts = corpus.label_counts([spec.subject.id for spec in specs], specs[0].window.cutoff)
    return {
        spec.subject.id: prospect(*counts[spec.subject.id], spec.config.hyperparameters.split, whole=spec.window.cutoff is None)
        for spec in specs
    }


def left_out(team: str | None) -> list[str]:
    """The slugs of the teams that are left out because GregoryAI deactivated them. team: the only one, which is refused instead."""
    if team is not None:
        return []
    with read_only_transaction():
        inactive = schema.inactive(Team.objects.filter(subjects__isnull=False))
        return sorted(set(inactive.values_list("slug", flat=True)))


def recorded_versions(subject_ids: Collection[int], algorithms: Collection[Algorithm], *, of_failures: bool = True) -> Recorded:
    """The versions in the rows of PredictionRunLog by subject id and algorithm, in one query. of_failures: also those of failed rows."""
    rows = PredictionRunLog.objects.filter(subject__in=subject_ids, algorithm__in=algorithms, run_type=RunKind.TRAIN)
    if not of_failures:
        rows = rows.exclude(success=False)
    recorded: Recorded = defaultdict(set)
    for subject_id, algorithm, version in rows.values_list("subject_id", "algorithm", "model_version").distinct():
        recorded[subject_id, str(algorithm)].add(version)
    return recorded


def successful_versions(subject_id: int, algorithms: Collection[Algorithm]) -> dict[str, str]:
    """The newest successful version of each algorithm, from the rows."""
    rows = PredictionRunLog.objects.filter(subject=subject_id, algorithm__in=algorithms, run_type=RunKind.TRAIN, success=True)
    found = rows.filter(algorithm_run__reason="").values_list("algorithm", "model_version")
    return dict(sorted(((str(name), version) for name, version in found), key=lambda pair: versions.age_key(pair[1])))


def taken_versions(recorded: set[str], *, models_dir: Path, team: str, subject: str, algorithm: Algorithm) -> set[str]:
    """The versions that cannot be used again: those of rows and those of folders."""
    folder = artifacts.version_folder(models_dir, team=team, subject=subject, algorithm=algorithm, version="_").parent
    return recorded | ({path.name for path in folder.iterdir()} if folder.is_dir() else set())


def subjects(team: str | None, subject: str | None) -> list[Subject]:
    """The subjects of these slugs, ordered by team slug and subject slug. None means every one. Raises UsageError."""
    teams = schema.active(Team.objects.all())
    # Not by the column: without a foreign key, a subject may refer to a deleted team.
    selected = Subject.objects.filter(team__in=teams).select_related("team").only("subject_slug", "team__slug")
    if team is None:
        found = list(selected.order_by("team__slug", "subject_slug"))
        if not found:
            raise UsageError("--all-teams: no team has a subject; create one in GregoryAI, or run load_demo")
        return found
    if not teams.filter(slug=team).exists():
        if Team.objects.filter(slug=team).exists():
            raise UsageError(f"team {team!r} was deactivated in GregoryAI; activate it there, or choose another")
        raise UsageError(f"unknown team {team!r}; {_known('teams', teams.values_list('slug', flat=True))}")
    of_team = selected.filter(team__slug=team).order_by("subject_slug")
    if subject is None:
        found = list(of_team)
        if not found:
            raise UsageError(f"team {team!r} has no subject")
        return found
    found = list(of_team.filter(subject_slug=subject))
    if not found:
        known = _known("its subjects", of_team.values_list("subject_slug", flat=True))
        raise UsageError(f"team {team!r} has no subject {subject!r}; {known}")
    return found


def _known(label: str, slugs: Iterable[str], limit: int = 10) -> str:
    names = [one_line(slug) for slug in sorted(slugs)]
    if not names:
        return f"{label}: none"
    return f"{label}: {', '.join(names[:limit])}" + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _algorithm_spec(
    request: TrainingRequest, subject: Subject, algorithm: Algorithm, recorded: set[str], models_dir: Path, now: datetime
) -> AlgorithmSpec:
    team = team_of(subject)
    taken = taken_versions(recorded, models_dir=models_dir, team=team.slug, subject=subject.subject_slug, algorithm=algorithm)
    if request.version is None:
        return AlgorithmSpec(algorithm=algorithm, run_log_id=0, version=versions.next_version(taken, now.date()))
    if request.version in taken:
        raise UsageError(
            f"--version {request.version}: {team.slug}/{subject.subject_slug}/{algorithm} already has this version; "
            "versions are never overwritten, choose another"
        )
    return AlgorithmSpec(algorithm=algorithm, run_log_id=0, version=request.version)
