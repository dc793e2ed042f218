"""report.html: one page about one model, for the decision to use it. It has no script and no link, and it loads no other file.

The template has the layout, and `gregory.ml.model_card.figures` makes the drawings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gregory.ml.baseline import NAME as BASELINE
from gregory.ml.evaluation import Evaluation, PartEvaluation, Ranking
from gregory.ml.model_card import figures
from gregory.ml.model_card.mistakes import NO_MISTAKES, Mistakes
from gregory.ml.quality_warnings import shown, shown_highest
from gregory.ml.thresholds import parse
from gregory.output import counted

# The base rate comes after accuracy.
_AT_THRESHOLD = ("precision", "recall", "f1", "accuracy")
# With fewer, 95 % of them means all of them.
FEW_RELEVANT = 20
_AT_HALF = ("precision", "recall", "f1")
_OVER_ALL = ("roc_auc", "pr_auc")


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSection:
    """A heading and facts with labels, e.g. data or settings. All are shown as text, in this order."""

    heading: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The content of the page.

    subject, subject_name: its slug and its name. mistakes: the listed test articles.
    train_counts: {"relevant": .., "not_relevant": ..} of the training part; the evaluation has those of the other parts.
    run_log_id: None without a row. step: the unit of the training, "epoch" or "round".
    """

    team: str
    subject: str
    subject_name: str
    algorithm: str
    version: str
    trained_at: datetime
    run_id: str
    run_log_id: int | None
    evaluation: Evaluation
    train_counts: Mapping[str, int]
    sections: Sequence[FactSection] = ()
    mistakes: Mistakes = NO_MISTAKES
    step: str = "epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Lines of the metrics table that were measured in the same way: (name, validation, test)."""

    heading: str
    lines: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """One of the main figures at the top of the page."""

    name: str
    test: float
    validation: float


def render(card: ModelCard) -> str:
    """The whole page. Equal content gives equal pages."""
    environment = Environment(
        loader=PackageLoader("gregory.ml.model_card", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shown=shown, shown_highest=shown_highest, choice=_words)
    evaluation = card.evaluation
    return environment.get_template("template.html").render(
        card=card,
        evaluation=evaluation,
        trained_at=card.trained_at.astimezone(UTC),
        few=_few(evaluation),
        rankings=_rankings(evaluation),
        tiles=_tiles(evaluation),
        groups=_groups(evaluation),
        parts=_parts(card),
        outcomes=(("validation", evaluation.validation), ("test", evaluation.test)),
        drawings=[(drawing, Markup(drawing.svg)) for drawing in figures.draw(evaluation, step=card.step)],  # noqa: S704 - made here
    )


def _words(choice: str) -> str:
    """The name of an operating point: "0.8" stays, "best-f1" is "best f1", "recall=0.95" is "recall 95 %"."""
    wanted = parse(choice)
    if wanted.number is not None:
        return choice
    return "best f1" if wanted.recall is None else f"recall {100 * wanted.recall:g} %"


def _few(evaluation: Evaluation) -> str:
    """The sentence about wide intervals. Empty if both parts have enough relevant articles."""
    validation, test = evaluation.validation.relevant, evaluation.test.relevant
    if min(validation, test) >= FEW_RELEVANT:
        return ""
    return (
        f"Only {counted(validation, 'article')} of the validation part and {counted(test, 'article')} of the test part are relevant, "
        "so the intervals are wide."
    )


def _rankings(evaluation: Evaluation) -> tuple[tuple[str, Ranking], ...]:
    named = (("this model", evaluation.ranking), (BASELINE, evaluation.baseline))
    return tuple((name, ranking) for name, ranking in named if ranking is not None)


def _tiles(evaluation: Evaluation) -> tuple[_Tile, ...]:
    validation, test = evaluation.validation, evaluation.test
    return (
        *(
            _Tile(name=label, test=test.metrics[name], validation=validation.metrics[name])
            for name, label in (("roc_auc", "ROC AUC"), ("pr_auc", "PR AUC"), ("f1", f"f1 at {evaluation.threshold:g}"))
        ),
        _Tile(name="f1 at 0.5", test=test.at_half["f1"], validation=validation.at_half["f1"]),
    )


def _groups(evaluation: Evaluation) -> tuple[_Group, ...]:
    validation, test = evaluation.validation, evaluation.test
    return (
        _Group(
            heading=f"at the threshold {evaluation.threshold:g}",
            lines=(
                *_lines(_AT_THRESHOLD, validation.metrics, test.metrics),
                ("accuracy of always the larger class", _base_rate(validation), _base_rate(test)),
            ),
        ),
        _Group(heading="over all thresholds", lines=_lines(_OVER_ALL, validation.metrics, test.metrics)),
        _Group(heading="at 0.5, for comparison", lines=_lines(_AT_HALF, validation.at_half, test.at_half)),
    )


def _base_rate(part: PartEvaluation) -> float:
    return max(part.relevant, part.not_relevant) / part.n


def _lines(names: Sequence[str], validation: Mapping[str, float], test: Mapping[str, float]) -> tuple[tuple[str, float, float], ...]:
    return tuple((name, validation[name], test[name]) for name in names)


def _parts(card: ModelCard) -> tuple[tuple[str, int, int], ...]:
    def counts(name: str, part: PartEvaluation) -> tuple[str, int, int]:
        return name, part.relevant, part.not_relevant

    return (
        ("training", card.train_counts["relevant"], card.train_counts["not_relevant"]),
        counts("validation", card.evaluation.validation),
        counts("test", card.evaluation.test),
    )
