"""report.html: one page about one model, for the decision to use it. It has no script and no link, and it loads no other file.

The template has the layout, and `gregory.ml.model_card.figures` makes the drawings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gregory.ml.evaluation import Evaluation, PartEvaluation
from gregory.ml.model_card import figures

_AT_THRESHOLD = ("accuracy", "precision", "recall", "f1")
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

    train_counts: {"relevant": .., "not_relevant": ..} of the training part; the evaluation has those of the other parts.
    run_log_id: None without a row. step: the unit of the training, "epoch" or "round".
    """

    team: str
    subject: str
    algorithm: str
    version: str
    trained_at: datetime
    run_id: str
    run_log_id: int | None
    evaluation: Evaluation
    train_counts: Mapping[str, int]
    sections: Sequence[FactSection] = ()
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
    evaluation = card.evaluation
    return environment.get_template("template.html").render(
        card=card,
        evaluation=evaluation,
        trained_at=card.trained_at.astimezone(UTC),
        tiles=_tiles(evaluation),
        groups=_groups(evaluation),
        parts=_parts(card),
        outcomes=(("validation", evaluation.validation), ("test", evaluation.test)),
        drawings=[(drawing, Markup(drawing.svg)) for drawing in figures.draw(evaluation, step=card.step)],  # noqa: S704 - made here
    )


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
        _Group(heading=f"at the threshold {evaluation.threshold:g}", lines=_lines(_AT_THRESHOLD, validation.metrics, test.metrics)),
        _Group(heading="over all thresholds", lines=_lines(_OVER_ALL, validation.metrics, test.metrics)),
        _Group(heading="at 0.5, for comparison", lines=_lines(_AT_HALF, validation.at_half, test.at_half)),
    )


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
