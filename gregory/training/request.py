"""Flags -> TrainingRequest: every rule of the command line that needs no database."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from gregory.ml import versions
from gregory.ml.config import ALGORITHMS, DEFAULT_LOOKBACK_DAYS, DEFAULT_THRESHOLD, Algorithm, Hyperparameters, TrainConfig

# timedelta and the calendar end near here; nobody means more than 100 years.
MAXIMUM_LOOKBACK_DAYS = 36_500
# What a run's stored specification says: beside --resume such a flag could only contradict it.
SPECIFIED = {
    "team": "--team",
    "subject": "--subject",
    "all_teams": "--all-teams",
    "all_articles": "--all-articles",
    "lookback_days": "--lookback-days",
    "algo": "--algo",
    "prob_threshold": "--prob-threshold",
    "model_version": "--version",
    "pseudo_label": "--pseudo-label",
    "dry_run": "--dry-run",
}


class UsageError(Exception):
    """The command line cannot mean anything; exit code 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What the operator asked for. `team` None means every team; `lookback_days` None means all articles."""

    team: str | None
    subject: str | None
    lookback_days: int | None
    algorithms: tuple[Algorithm, ...]
    version: str | None
    config: TrainConfig
    verbosity: int


def from_flags(flags: Mapping[str, Any], *, hyperparameters: Hyperparameters) -> TrainingRequest:
    """Check the flags against each other and fill in the defaults. Raises UsageError naming the flag and the value."""
    team, subject = _scope(flags)
    return TrainingRequest(
        team=team,
        subject=subject,
        lookback_days=_lookback_days(flags),
        algorithms=_algorithms(flags["algo"]),
        version=_version(flags["model_version"]),
        config=TrainConfig(
            prob_threshold=_threshold(flags["prob_threshold"]), pseudo_label=flags["pseudo_label"], hyperparameters=hyperparameters
        ),
        verbosity=flags["verbose"],
    )


def run_to_resume(flags: Mapping[str, Any]) -> str | None:
    """The id that --resume names; None for a new training. Raises UsageError naming a flag that cannot stand beside it."""
    run_id: str | None = flags["resume"]
    if run_id is None:
        return None
    for name, flag in SPECIFIED.items():
        if flags[name] is not None and flags[name] is not False:
            raise UsageError(f"--resume and {flag} exclude each other: the specification of run {run_id} is taken as it is")
    return run_id


def _scope(flags: Mapping[str, Any]) -> tuple[str | None, str | None]:
    team, subject = flags["team"], flags["subject"]
    if flags["all_teams"]:
        return None, None
    if team is None and subject is None:
        raise UsageError("nothing to train: give --team SLUG, or --all-teams")
    if team is None:
        raise UsageError(f"--subject {subject} needs --team: a subject slug is unique within its team only")
    return team, subject


def _lookback_days(flags: Mapping[str, Any]) -> int | None:
    days: int | None = flags["lookback_days"]
    if flags["all_articles"]:
        if days is not None:
            raise UsageError("--all-articles and --lookback-days exclude each other: give one of them")
        return None
    if days is None:
        return DEFAULT_LOOKBACK_DAYS
    if not 1 <= days <= MAXIMUM_LOOKBACK_DAYS:
        raise UsageError(f"--lookback-days {days} must be from 1 to {MAXIMUM_LOOKBACK_DAYS}; for every article use --all-articles")
    return days


def _algorithms(text: str | None) -> tuple[Algorithm, ...]:
    """In the order asked, each once."""
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
        raise UsageError(f"--prob-threshold {value:g} must lie between 0 and 1, both excluded")
    return value


def _version(value: str | None) -> str | None:
    if value is not None and not versions.is_valid(value):
        raise UsageError(f"--version {value!r} cannot name a model: use 1 to 100 of a-z A-Z 0-9 . _ - and start with a letter or digit")
    return value
