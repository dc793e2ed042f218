"""PredictFlags -> PredictionRequest -> PredictionPlan. Reads the database and the models folder. Writes nothing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from gregory.data import predictions, schema
from gregory.ml import artifacts, thresholds
from gregory.ml.config import Algorithm
from gregory.ml.errors import ArtifactError, ConfigError
from gregory.ml.promotion import chosen_version, complete_versions
from gregory.ml.usable_models import chosen_threshold
from gregory.models import Subject
from gregory.runs import store
from gregory.runs.db_retry import read_only_transaction
from gregory.runs.spec import AlgorithmSpec, PredictConfig, PredictSpec, Scope, new_run_id, new_token
from gregory.training import planning, request
from gregory.training.flags import PredictFlags
from gregory.training.request import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRequest:
    """The checked flags. `team` None means every team. `lookback_days` None means all articles. named: the operator named algorithms."""

    team: str | None
    subject: str | None
    lookback_days: int | None
    algorithms: tuple[Algorithm, ...]
    named: bool
    config: PredictConfig
    verbosity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPlan:
    """The runs, and what gets none.

    specs: with articles to predict. idle: without such articles. waiting: the number of these articles by subject id and algorithm, if
    this process sees the models. without: by subject, a sentence per algorithm without a usable version. failures: those of them that the
    operator asked for, also with a threshold that the model does not have.
    """

    specs: list[PredictSpec] = field(default_factory=list)
    idle: list[PredictSpec] = field(default_factory=list)
    waiting: dict[tuple[int, str], int] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def from_flags(flags: PredictFlags) -> PredictionRequest:
    """Check the flags and fill in the defaults. Raises UsageError with the flag and its value."""
    team, subject = request.scope(flags, work="predict")
    return PredictionRequest(
        team=team,
        subject=subject,
        # GregoryAI's command allows --lookback-days beside --all-articles.
        lookback_days=None if flags.all_articles else request.lookback_days(flags),
        algorithms=request.algorithms(flags.algo),
        named=flags.algo is not None,
        config=PredictConfig(
            version=request.version(flags.model_version, option="--model-version"),
            threshold=None if flags.threshold is None else _threshold(flags.threshold),
            skip_without_summary=flags.skip_without_summary,
            recompute=not flags.no_recompute,
        ),
        verbosity=flags.verbose,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """The two files of a prediction without a database."""

    source: Path
    target: Path
    team: str
    subject: str


def files_of(flags: PredictFlags) -> FileRequest | None:
    """The files of the flags; None without them. Raises UsageError if a flag is missing or excluded, or the file cannot be written."""
    if flags.input is None and flags.output_file is None:
        return None
    if flags.input is None or flags.output_file is None:
        raise UsageError("--input and --output-file need each other")
    if excluded := [option for option, given in _of_a_database(flags).items() if given]:
        raise UsageError(f"leave out {', '.join(excluded)}: with --input this process predicts every article of the file")
    if flags.team is None or flags.subject is None or flags.all_teams:
        raise UsageError(f"--input {flags.input} needs the models of one subject: give --team and --subject")
    for slug in (flags.team, flags.subject):
        planning.require_folder_name(slug)
    source, target = Path(flags.input), Path(flags.output_file)
    try:
        _require_file(source, target)
    except (OSError, RuntimeError) as error:
        # Of a path with a link to itself, pathlib raises a RuntimeError.
        reason = error.strerror if isinstance(error, OSError) else "a link in it leads to itself"
        raise UsageError(f"--output-file {target}: {reason}; give another name") from error
    return FileRequest(source=source, target=target, team=flags.team, subject=flags.subject)


def _require_file(source: Path, target: Path) -> None:
    """Raise UsageError unless the target can be written as a file of its own, and OSError if that cannot be told."""
    if source.resolve() == target.resolve():
        raise UsageError(f"--output-file {target} is the file of --input; give another name")
    if target.is_dir():
        raise UsageError(f"--output-file {target} is a folder; give the name of a file")
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise UsageError(f"--output-file {target} is a link or a device, and the result would replace it; give the name of a file")
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise UsageError(f"--output-file {target}: its folder does not exist or cannot be written; make it, or give another one")


def _of_a_database(flags: PredictFlags) -> dict[str, bool]:
    """The flags that select articles or a back end, and whether they are given."""
    return {
        "--dry-run": flags.dry_run,
        "--lookback-days": flags.lookback_days is not None,
        "--skip-without-summary": flags.skip_without_summary,
        "--runner": flags.runner is not None,
    }


def plan(wanted: PredictionRequest, *, models_dir: Path | None, now: datetime, require_gpu: bool) -> PredictionPlan:
    """One PredictSpec per subject with a model, ordered by team slug and subject slug. The run log ids are still 0.

    models_dir: None if this process does not see the models of the runs. The versions are then those of the rows, and the run chooses
    anew. Raises UsageError, and OSError.
    """
    window = predictions.window(wanted.lookback_days, now=now)
    planned = PredictionPlan()
    with read_only_transaction():
        for subject in _subjects(wanted):
            team = planning.team_of(subject)
            label = f"{team.slug}/{subject.subject_slug}"
            problems: list[str] = []
            refused: list[str] = []
            models = list(_models(wanted, subject, models_dir, problems, refused))
            planned.failures.extend(f"{label}: {problem}" for problem in refused)
            planned.without.extend(f"{label}: {problem}" for problem in problems)
            if wanted.named or (not models and (wanted.team is not None or wanted.config.version)):
                planned.failures.extend(f"{label}: {problem}" for problem in problems)
            if not models:
                continue
            spec = PredictSpec(
                run_id=new_run_id(),
                attempt_token=new_token(),
                team=Scope(id=team.pk, slug=team.slug),
                subject=Scope(id=subject.pk, slug=subject.subject_slug),
                algorithms=tuple(algorithm for algorithm, _ in models),
                digests={algorithm.algorithm: digest for algorithm, digest in models if digest},
                config=wanted.config,
                window=window,
                require_gpu=require_gpu,
                verbosity=wanted.verbosity,
            )
            versions = {algorithm.algorithm: algorithm.version for algorithm in spec.algorithms}
            skips = wanted.config.skip_without_summary
            counts = predictions.count_waiting(subject.pk, window, versions, skip_without_summary=skips) if models_dir else {}
            planned.waiting.update({(subject.pk, algorithm): count for algorithm, count in counts.items()})
            (planned.specs if models_dir is None or any(counts.values()) else planned.idle).append(spec)
    if not planned.specs and not planned.idle and not planned.failures:
        planned.failures.extend(planned.without)
    return planned


def _subjects(wanted: PredictionRequest) -> list[Subject]:
    """The subjects. With every team only those that GregoryAI predicts automatically."""
    found = planning.subjects(wanted.team, wanted.subject)
    if wanted.team is not None:
        return found
    automatic = schema.automatic([subject.pk for subject in found])
    if not automatic:
        raise UsageError("--all-teams: no subject has auto_predict; set it in GregoryAI's admin, or give --team")
    return [subject for subject in found if subject.pk in automatic]


def _models(
    wanted: PredictionRequest, subject: Subject, models_dir: Path | None, problems: list[str], refused: list[str]
) -> Iterator[tuple[AlgorithmSpec, str]]:
    """The algorithms with their versions and the sha256 of the manifests. Without the models folder the sha256 is empty.

    refused: gets a sentence for each version that lacks the threshold.
    """
    recorded = planning.successful_versions(subject.pk, wanted.algorithms) if models_dir is None else {}
    for algorithm in wanted.algorithms:
        try:
            if models_dir is None:
                version, digest = wanted.config.version or recorded.get(algorithm), ""
            else:
                version, digest = _chosen(wanted, subject, algorithm, models_dir)
        except ArtifactError as error:
            problems.append(f"{algorithm}: {error}")
            continue
        except ConfigError as error:
            refused.append(f"{algorithm}: {error}")
            continue
        if version is None:
            problems.append(_without_version(wanted, subject, algorithm, models_dir))
        else:
            yield AlgorithmSpec(algorithm=algorithm, run_log_id=0, version=version), digest


def _chosen(wanted: PredictionRequest, subject: Subject, algorithm: Algorithm, models_dir: Path) -> tuple[str | None, str]:
    version = chosen_version(_subject_dir(subject, models_dir), algorithm, named=wanted.config.version)
    if version is None:
        return None, ""
    artifacts.require_own(version.folder, moved=partial(store.is_trained_by, subject.pk))
    if wanted.config.threshold is not None:
        chosen_threshold(version.folder, wanted.config.threshold)
    place = version.folder.relative_to(models_dir).as_posix()
    return version.name, store.recorded_digest(place) or artifacts.digest(version.folder)


def _without_version(wanted: PredictionRequest, subject: Subject, algorithm: Algorithm, models_dir: Path | None) -> str:
    team = planning.team_of(subject).slug
    known = complete_versions(_subject_dir(subject, models_dir) / algorithm) if models_dir is not None else []
    if known:
        return f"{algorithm} has no version {wanted.config.version}; it has {', '.join(known[-5:])}"
    train = f"python manage.py train_models --team {team} --subject {subject.subject_slug} --algo {algorithm}"
    return f"{algorithm} has no version yet; train it with: {train}"


def _subject_dir(subject: Subject, models_dir: Path) -> Path:
    return models_dir / planning.team_of(subject).slug / subject.subject_slug


def _threshold(choice: str) -> str:
    try:
        return str(thresholds.parse(choice))
    except ConfigError as error:
        raise UsageError(f"--{error}") from error
