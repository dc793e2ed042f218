"""Flags -> TrainingRequest: the rules of the command line that need no database."""

import math
from dataclasses import dataclass
from typing import cast

from gregory.ml import versions
from gregory.ml.comparison import MINIMUM
from gregory.ml.config import ALGORITHMS, DEFAULT_LOOKBACK_DAYS, DEFAULT_THRESHOLD, Algorithm, Hyperparameters, TrainConfig
from gregory.ml.gate import GateConfig
from gregory.training.flags import RunFlags, ScopeFlags, TrainFlags, refused_with_resume

# 100 years. timedelta and the calendar fail for much larger numbers.
MAXIMUM_LOOKBACK_DAYS = 36_500


class UsageError(Exception):
    """The flags are not usable; exit code 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """The checked flags. `team` None means every team. `lookback_days` None means all articles."""

    team: str | None
    subject: str | None
    lookback_days: int | None
    algorithms: tuple[Algorithm, ...]
    version: str | None
    config: TrainConfig
    verbosity: int
    gate: GateConfig | None = None
    titles: bool = True


def from_flags(
    flags: TrainFlags, *, hyperparameters: Hyperparameters, promote_margin: float | None = None, promote_minimum: int = MINIMUM
) -> TrainingRequest:
    """Check the flags and fill in the defaults. Raises UsageError with the flag and its value.

    promote_margin, promote_minimum: those of the installation.
    """
    team, subject = scope(flags, work="train")
    return TrainingRequest(
        team=team,
        subject=subject,
        lookback_days=lookback_days(flags),
        algorithms=algorithms(flags.algo),
        version=version(flags.model_version, option="--version"),
        config=TrainConfig(
            prob_threshold=DEFAULT_THRESHOLD if flags.prob_threshold is None else threshold(flags.prob_threshold),
            pseudo_label=flags.pseudo_label,
            hyperparameters=hyperparameters,
        ),
        verbosity=flags.verbose,
        gate=_gate(promote_margin if flags.promote_if_not_worse is None else flags.promote_if_not_worse, promote_minimum),
        titles=not flags.no_titles,
    )


def run_to_resume(flags: RunFlags) -> str | None:
    """The id after --resume, or None for a new run. Raises UsageError with the first flag that --resume excludes."""
    if flags.resume is not None and (refused := refused_with_resume(flags)):
        raise UsageError(f"--resume and {refused[0]} exclude each other: run {flags.resume} continues with its stored specification")
    return flags.resume


def scope(flags: ScopeFlags, *, work: str) -> tuple[str | None, str | None]:
    """The slugs of team and subject. None means every one. Raises UsageError. work: the verb of the command."""
    if flags.all_teams:
        return None, None
    if flags.team is None and flags.subject is None:
        raise UsageError(f"nothing to {work}: give --team SLUG, or --all-teams")
    if flags.team is None:
        raise UsageError(f"--subject {flags.subject} needs --team: a subject slug is unique only within its team")
    return flags.team, flags.subject


def lookback_days(flags: ScopeFlags) -> int | None:
    """The days of the data window. None means all articles. Raises UsageError."""
    days = flags.lookback_days
    if flags.all_articles:
        if days is not None:
            raise UsageError("--all-articles and --lookback-days exclude each other: give one of them")
        return None
    if days is None:
        return DEFAULT_LOOKBACK_DAYS
    if not 1 <= days <= MAXIMUM_LOOKBACK_DAYS:
        raise UsageError(f"--lookback-days {days} must be from 1 to {MAXIMUM_LOOKBACK_DAYS}; for every article use --all-articles")
    return days


def algorithms(text: str | None) -> tuple[Algorithm, ...]:
    """The algorithms of a list with commas in the given order, each once. None means all. Raises UsageError."""
    if text is None:
        return ALGORITHMS
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in ALGORITHMS]
    if unknown or not names:
        raise UsageError(f"--algo {text!r}: unknown algorithm {', '.join(unknown) or '(none given)'}; choose from {', '.join(ALGORITHMS)}")
    return cast(tuple[Algorithm, ...], tuple(names))


def threshold(value: float) -> float:
    """A probability that can be a threshold. Raises UsageError."""
    if not (math.isfinite(value) and 0 < value < 1):
        raise UsageError(f"--prob-threshold {value:g} must be greater than 0 and less than 1")
    return value


def _gate(margin: float | None, minimum: int) -> GateConfig | None:
    if margin is None:
        return None
    if not (math.isfinite(margin) and 0 <= margin < 1):
        raise UsageError(f"--promote-if-not-worse {margin:g} must be at least 0 and less than 1; 0.02 is two points of ROC AUC")
    return GateConfig(margin=margin, minimum=minimum)


def version(value: str | None, *, option: str) -> str | None:
    """A name that a version can have. Raises UsageError."""
    if value is not None and not versions.is_valid(value):
        raise UsageError(f"{option} {value!r} cannot name a model: use 1 to 100 of a-z A-Z 0-9 . _ - and start with a letter or digit")
    return value
