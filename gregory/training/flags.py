"""The command-line flags of train_models and predict_articles. Each flag is one field: default, type and help text."""

from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from gregory.launch.registry import RUNNERS
from gregory.ml.config import ALGORITHMS, DEFAULT_LOOKBACK_DAYS, DEFAULT_THRESHOLD


class _OneName(Action):
    """Stores the value of a flag with several names. Two names with two values would conflict silently."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, value: Any, name: str | None = None) -> None:
        """Called by argparse for each use of the flag."""
        present = getattr(namespace, self.dest)
        if present not in (self.default, value):
            raise ArgumentError(self, f"given twice, with {present} and {value}; leave out one of them")
        setattr(namespace, self.dest, value)


def flag(option: str, *, default: Any, also: tuple[str, ...] = (), with_resume: bool = False, **argument: Any) -> Any:
    """Declare a field that is a flag. argument: keywords of `ArgumentParser.add_argument`.

    also: other names of the flag. with_resume: the flag may be used together with --resume. All others are refused there.
    """
    return field(default=default, metadata={"option": option, "also": also, "with_resume": with_resume, "argument": argument})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFlags:
    """The articles of a command: team, subject and data window."""

    team: str | None = flag("--team", default=None, metavar="SLUG", help="select the subjects of this team")
    subject: str | None = flag("--subject", default=None, metavar="SLUG", help="select only this subject of the team")
    all_teams: bool = flag(
        "--all-teams", default=False, action="store_true", help="select the subjects of every team; --team and --subject are ignored"
    )
    all_articles: bool = flag("--all-articles", default=False, action="store_true", help="use articles of any age")
    lookback_days: int | None = flag(
        "--lookback-days",
        default=None,
        type=int,
        metavar="N",
        help=f"use the articles discovered in the last N days (default {DEFAULT_LOOKBACK_DAYS})",
    )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """The flags among the options of a parser. A flag that the parser does not have gets its default."""
        return cls(**{one.name: options[one.name] for one in fields(cls) if one.name in options})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlags(ScopeFlags):
    """The flags of the commands that start runs."""

    algo: str | None = flag("--algo", default=None, metavar="A,B,C", help=f"algorithms, in this order (default {','.join(ALGORITHMS)})")
    verbose: int = flag(
        "--verbose",
        default=1,
        with_resume=True,
        type=int,
        choices=range(4),
        help="0 nothing, 1 progress, 2 also warnings, 3 also the table of all metrics (default 1)",
    )
    # Beside --resume, the command compares it with the runner of the run.
    runner: str | None = flag(
        "--runner",
        default=None,
        with_resume=True,
        metavar="NAME",
        help=f"back end of the runs: {', '.join(RUNNERS)} (default GREGORY_RUNNER)",
    )
    wait: bool = flag(
        "--wait",
        default=False,
        with_resume=True,
        action="store_true",
        help="return when every run has ended; only the runner kubernetes needs this flag",
    )
    resume: str | None = flag(
        "--resume",
        default=None,
        with_resume=True,
        metavar="RUN_ID",
        help="continue this run where it stopped, with its original settings",
    )
    dry_run: bool = flag("--dry-run", default=False, action="store_true", help="print the plan; write nothing and start nothing")
    output: str = flag(
        "--output",
        default="table",
        choices=["table", "json"],
        help="output format of --dry-run; json also has the requests to a cluster (default table)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainFlags(RunFlags):
    """All flags of train_models."""

    prob_threshold: float | None = flag(
        "--prob-threshold",
        default=None,
        type=float,
        metavar="X",
        help=f"probability from which an article counts as relevant (default {DEFAULT_THRESHOLD:g})",
    )
    model_version: str | None = flag(
        "--version", default=None, metavar="V", help="name of the version (default YYYYMMDD, then YYYYMMDD_2, YYYYMMDD_3 ...)"
    )
    pseudo_label: bool = flag(
        "--pseudo-label", default=False, action="store_true", help="BERT labels unreviewed articles first; the training uses these too"
    )
    promote_if_not_worse: float | None = flag(
        "--promote-if-not-worse",
        default=None,
        type=float,
        metavar="MARGIN",
        help="promote each new version whose ROC AUC and PR AUC are at most MARGIN lower than those of the version in use "
        "(default GREGORY_PROMOTE_MARGIN)",
    )
    no_titles: bool = flag(
        "--no-titles", default=False, action="store_true", help="the model cards name articles by their ids only, without titles"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictFlags(RunFlags):
    """All flags of predict_articles. Those of GregoryAI's command have its names."""

    output: str = flag(
        "--output",
        default="table",
        choices=["table", "json"],
        help="output format of the result, and of the plan of --dry-run; json of a plan also has the requests to a cluster (default table)",
    )
    model_version: str | None = flag(
        "--model-version", default=None, metavar="V", help="version of the models (default: the promoted one, else the newest)"
    )
    threshold: str | None = flag(
        "--threshold",
        also=("--prob-threshold",),
        default=None,
        action=_OneName,
        metavar="X",
        help="probability from which an article counts as relevant: a number, best-f1 or recall=0.95, which each model's validation "
        "articles determine (default: that of the model's training)",
    )
    skip_without_summary: bool = flag(
        "--skip-without-summary", default=False, action="store_true", help="predict no article without a summary, as GregoryAI's command"
    )
    input: str | None = flag(
        "--input", default=None, metavar="FILE", help="predict the articles of this file, which import_articles could read"
    )
    output_file: str | None = flag(
        "--output-file", default=None, metavar="FILE", help="with --input: write the ranked articles to this CSV file"
    )
    no_recompute: bool = flag(
        "--no-recompute", default=False, action="store_true", help="leave GregoryAI's articles.relevant and articles.ml_score as they are"
    )


def add_arguments(
    parser: ArgumentParser, flags: type[ScopeFlags], *, required: Collection[str] = (), without: Collection[str] = ()
) -> None:
    """Add the flags to the parser in the order of their fields. required, without: names of fields."""
    for one in fields(flags):
        if one.name in without:
            continue
        argument = dict(one.metadata["argument"])
        if one.name in required:
            argument["required"] = True
        parser.add_argument(one.metadata["option"], *one.metadata["also"], dest=one.name, default=one.default, **argument)


def refused_with_resume(flags: RunFlags) -> list[str]:
    """The flags that were given and that --resume excludes, as options."""
    return [one.metadata["option"] for one in fields(flags) if not one.metadata["with_resume"] and getattr(flags, one.name) != one.default]
