"""Flags -> TrainingRequest: the rules of the command line that need no database."""

import math
from dataclasses import dataclass
from typing import cast

from gregory.ml import versions
from gregory.ml.config import ALGORITHMS, DEFAULT_LOOKBACK_DAYS, DEFAULT_THRESHOLD, Algorithm, Hyperparameters, TrainConfig
from gregory.training.flags import ScopeFlags, TrainFlags, refused_with_resume

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


def from_flags(flags: TrainFlags, *, hyperparameters: Hyperparameters) -> TrainingRequest:
    """Check the flags and fill in the defaults. Raises UsageError with the flag and its value."""
    team, subject = _scope(flags)
    return TrainingRequest(
        team=team,
        subject=subject,
        lookback_days=_lookback_days(flags),
        algorithms=_algorithms(flags.algo),
        version=_version(flags.model_version),
        config=TrainConfig(
            prob_threshold=_threshold(flags.prob_threshold), pseudo_label=flags.pseudo_label, hyperparameters=hyperparameters
        ),
        verbosity=flags.verbose,
    )


def run_to_resume(flags: TrainFlags) -> str | None:
    """The id after --resume, or None for a new training. Raises UsageError with the first flag that --resume excludes."""
    if flags.resume is not None and (refused := refused_with_resume(flags)):
        raise UsageError(f"--resume and {refused[0]} exclude each other: run {flags.resume} continues with its stored specification")
    return flags.resume


def _scope(flags: ScopeFlags) -> tuple[str | None, str | None]:
    if flags.all_teams:
        return None, None
    if flags.team is None and flags.subject is None:
        raise UsageError("nothing to train: give --team SLUG, or --all-teams")
    if flags.team is None:
        raise UsageError(f"--subject {flags.subject} needs --team: a subject slug is unique only within its team")
    return flags.team, flags.subject


def _lookback_days(flags: ScopeFlags) -> int | None:
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


def _algorithms(text: str | None) -> tuple[Algorithm, ...]:
    """The algorithms in the given order, each once."""
    if text is None:
        return ALGORITHMS
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in ALGORITHMS]
    if unknown or not names:
        raise UsageError(f"--algo {text!r}: unknown algorithm {', '.join(unknown) or '(none given)'}; choose from {', '.join(ALGORITHMS)}")
    return cast(tuple[Algorithm, ...], tuple(names))


def _threshold(value: float | None) -> float:
    if value is None:
        return DEFAULT_THRESHOLD
    if not (math.isfinite(value) and 0 < value < 1):
        raise UsageError(f"--prob-threshold {value:g} must be greater than 0 and less than 1")
    return value


def _version(value: str | None) -> str | None:
    if value is not None and not versions.is_valid(value):
        raise UsageError(f"--version {value!r} cannot name a model: use 1 to 100 of a-z A-Z 0-9 . _ - and start with a letter or digit")
    return value
