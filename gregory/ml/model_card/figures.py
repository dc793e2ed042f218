"""The drawings of the model card: evaluation -> inline SVG. The same evaluation gives the same text.

matplotlib is imported at the first drawing. `gregory.ml.model_card.inline_svg` adapts its output to the page, and
`gregory.ml.model_card.page` makes the page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gregory.ml.evaluation import Calibration, Evaluation, History, PartEvaluation
from gregory.ml.evaluator import CALIBRATION_EDGES, HISTOGRAM_EDGES
from gregory.ml.model_card.inline_svg import GRID, INK, TEST, TRAIN, VALIDATION, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

# At least 12 pixels where a drawing is 309 pixels wide: on a page of 390 pixels with a scroll bar.
FONT_SIZE = 10.5
# A share of fewer articles says little.
LEAST_IN_BIN = 5

_STYLE: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gregory",
    "text.parse_math": False,
    "figure.figsize": (3.6, 2.75),
    "font.size": FONT_SIZE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.bottom": False,
    "ytick.left": False,
    "legend.frameon": False,
    "legend.fontsize": FONT_SIZE,
    "legend.borderaxespad": 0.2,
    "legend.handlelength": 1.8,
}
_HALF_AN_ARTICLE = 0.5
_MARGINS = {"left": 0.145, "right": 0.97, "bottom": 0.165, "top": 0.88}
_DOTTED = (0, (1, 3))
_DASHED = (0, (5, 2.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """heading and caption: plain text. svg: mark-up that the page contains unchanged."""

    heading: str
    caption: str
    svg: str


def draw(evaluation: Evaluation, *, step: str) -> tuple[Drawing, ...]:
    """All drawings of a model card, in reading order. step: the unit of the training, "epoch" or "round"."""
    from matplotlib import style

    with style.context(_STYLE, after_reset=True):
        return (
            _histogram(evaluation),
            _confusion(evaluation),
            _roc(evaluation),
            _precision_recall(evaluation),
            _calibration(evaluation),
            *_training(evaluation.history, step),
        )


def _histogram(evaluation: Evaluation) -> Drawing:
    figure = _figure()
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"hspace": 0.32})
    counts = evaluation.test.histogram
    width = HISTOGRAM_EDGES[1]
    for axes, name, values, colour in (
        (upper, "relevant", counts.relevant, TEST),
        (lower, "not relevant", counts.not_relevant, TRAIN),
    ):
        axes.bar(HISTOGRAM_EDGES[:-1] + 0.1 * width, values, width=0.8 * width, align="edge", color=colour)
        axes.axvline(evaluation.threshold, color=INK, linewidth=1, linestyle=_DASHED)
        axes.set_title(f"{name} ({sum(values):,})", loc="left", fontsize=FONT_SIZE, pad=4)
        # On a linear scale, one article beside a thousand has no height.
        axes.set_yscale("log")
        axes.set_ylim(_HALF_AN_ARTICLE, max(*values, 1) * 2)
        ticks = _ticks(max(values))
        axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(visible=False, axis="x")
    upper.set_title(f"dashed: threshold {evaluation.threshold:g}", loc="right", fontsize=FONT_SIZE, pad=4)
    lower.set_xlim(0, 1)
    lower.set_xlabel("predicted probability of relevant")
    reached = evaluation.test.confusion
    return Drawing(
        heading="Predicted probabilities",
        caption="Test articles by predicted probability, one panel per label. The scale is logarithmic. "
        "At the dashed line and to its right, an article counts as relevant.",
        svg=inline_svg(
            figure,
            key="histogram",
            title="Predicted probabilities of the test articles, by label",
            description=f"{reached.tp} of {evaluation.test.relevant} relevant and {reached.fp} of {evaluation.test.not_relevant} "
            f"not relevant articles reach the threshold {evaluation.threshold:g}.",
        ),
    )


def _ticks(most: int) -> list[int]:
    """At most four numbers of articles on a logarithmic scale, from 1 on."""
    powers = [10**power for power in range(len(str(most)))]
    steps = [step * power for power in powers for step in (1, 2, 5) if step * power <= most]
    return (steps if len(steps) <= 4 else powers) or [1]


def _confusion(evaluation: Evaluation) -> Drawing:
    figure, axes = _axes("predicted", "labelled")
    counts = evaluation.test.confusion
    rows = (("relevant", counts.tp, counts.fn), ("not relevant", counts.fp, counts.tn))
    for row, (_, *cells) in enumerate(rows):
        for column, count in enumerate(cells):
            share = count / sum(cells)
            axes.add_patch(_cell(column, row, share, right=row == column))
            axes.text(column + 0.5, row + 0.46, f"{count:,}", ha="center", va="center", fontsize=18)
            axes.text(column + 0.5, row + 0.7, f"{share:.0%} of the label", ha="center", va="center", fontsize=FONT_SIZE)
    names = [name for name, *_ in rows]
    axes.set(xlim=(0, 2), ylim=(2, 0))
    axes.set_xticks([0.5, 1.5], names)
    axes.set_yticks([0.5, 1.5], names, rotation=90, va="center")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return Drawing(
        heading=f"Confusion at {evaluation.threshold:g}",
        caption="Test articles by label (lines) and by prediction at the threshold (columns). Blue: correct prediction.",
        svg=inline_svg(
            figure,
            key="confusion",
            title=f"Confusion matrix of the test articles at the threshold {evaluation.threshold:g}",
            description=f"Of {evaluation.test.relevant} relevant articles {counts.tp} are predicted relevant and {counts.fn} are not; "
            f"of {evaluation.test.not_relevant} not relevant articles {counts.fp} are predicted relevant and {counts.tn} are not.",
        ),
    )


def _roc(evaluation: Evaluation) -> Drawing:
    figure, axes = _axes("share of the others selected", "share of relevant found")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=_DOTTED)
    for name, part, colour, line in _parts(evaluation):
        axes.plot(part.roc.fpr, part.roc.tpr, color=colour, linestyle=line, label=f"{name} {part.metrics['roc_auc']:.3f}")
    _finish(axes)
    return Drawing(
        heading="ROC",
        caption="Share of the relevant articles found, by share of the others found, over all thresholds. "
        "The legend has the area under the curve. Dotted: chance.",
        svg=inline_svg(figure, key="roc", title="ROC curves", description=_areas(evaluation, "roc_auc")),
    )


def _precision_recall(evaluation: Evaluation) -> Drawing:
    figure, axes = _axes("recall", "precision")
    share = evaluation.test.relevant / evaluation.test.n
    axes.axhline(share, color=INK, linewidth=0.9, linestyle=_DOTTED)
    for name, part, colour, line in _parts(evaluation):
        label = f"{name} {part.metrics['pr_auc']:.3f}"
        axes.plot(part.pr.recall, part.pr.precision, color=colour, linestyle=line, drawstyle="steps-post", label=label)
    _finish(axes)
    return Drawing(
        heading="Precision and recall",
        caption=f"Precision by share of the relevant articles found. The legend has the average precision. Dotted: chance ({share:.2f}).",
        svg=inline_svg(figure, key="pr", title="Precision-recall curves", description=_areas(evaluation, "pr_auc")),
    )


def _calibration(evaluation: Evaluation) -> Drawing:
    figure, axes = _axes("predicted probability", "share of relevant articles")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=_DOTTED)
    for name, part, colour, line in _parts(evaluation):
        predicted, observed, counts = _filled(part.calibration)
        sizes = [8 + 60 * count / max(counts) for count in counts]
        axes.plot(predicted, observed, color=colour, linestyle=line, linewidth=1.1, label=name)
        axes.scatter(predicted, observed, s=sizes, color=colour, linewidths=0, clip_on=False)
    axes.set_xticks(CALIBRATION_EDGES[::2])
    _finish(axes)
    points = ", ".join(f"{at:.2f}: {share:.2f}" for at, share, _ in zip(*_filled(evaluation.test.calibration), strict=True))
    return Drawing(
        heading="Calibration",
        caption="Share of relevant articles by predicted probability. Larger dots contain more articles, at least "
        f"{LEAST_IN_BIN}. Dotted: perfect calibration.",
        svg=inline_svg(
            figure,
            key="calibration",
            title="Calibration",
            description=f"Test part, predicted probability and share of relevant articles: {points or 'no bin has enough articles'}.",
        ),
    )


def _filled(calibration: Calibration) -> tuple[list[float], list[float], list[int]]:
    """Probabilities, shares and numbers of the bins with enough articles."""
    bins = zip(calibration.predicted, calibration.observed, calibration.counts, strict=True)
    kept = [one for one in bins if one[2] >= LEAST_IN_BIN]
    return [one[0] for one in kept], [one[1] for one in kept], [one[2] for one in kept]


def _training(history: History, step: str) -> Iterator[Drawing]:
    """One drawing per figure of the training. "loss" and "val_loss" share a drawing."""
    # A figure without any number is not drawn.
    series = {name: values for name, values in history.series.items() if any(value is not None for value in values)}
    for number, name in enumerate(dict.fromkeys(name.removeprefix("val_") for name in series), start=1):
        figure, axes = _axes(step, "")
        marker = "o" if len(history.steps) <= 20 else ""
        ends = []
        for key, label, colour, line in ((name, "training", TRAIN, "-"), (f"val_{name}", "validation", VALIDATION, _DASHED)):
            if key not in series:
                continue
            points = [(at, value) for at, value in zip(history.steps, series[key], strict=True) if value is not None]
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=line, marker=marker, markersize=3.5, label=label)
            ends.append(f"{label} from {points[0][1]:.3g} to {points[-1][1]:.3g}")
        axes.locator_params(axis="x", integer=True, nbins=6)
        _legend(axes)
        yield Drawing(
            heading=f"Training: {name.replace('_', ' ')}",
            caption=f"Per {step}. If the validation loss rises while the training loss falls, the model overfits.",
            svg=inline_svg(
                figure, key=f"training-{number}", title=f"Training curves of {name}", description=f"By {step}: {', '.join(ends)}."
            ),
        )


def _parts(evaluation: Evaluation) -> Iterator[tuple[str, PartEvaluation, str, str | tuple[float, tuple[float, ...]]]]:
    yield "validation", evaluation.validation, VALIDATION, _DASHED
    yield "test", evaluation.test, TEST, "-"


def _figure() -> "Figure":
    # Not pyplot, which never frees a figure and takes its backend from the environment.
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots_adjust(**_MARGINS)
    return figure


def _axes(horizontal: str, vertical: str) -> tuple["Figure", "Axes"]:
    figure = _figure()
    axes = figure.subplots()
    axes.set(xlabel=horizontal, ylabel=vertical)
    return figure, axes


def _cell(column: int, row: int, share: float, *, right: bool) -> "Rectangle":
    from matplotlib.patches import Rectangle

    gap = 0.02
    return Rectangle(
        (column + gap, row + gap),
        1 - 2 * gap,
        1 - 2 * gap,
        facecolor=TEST if right else VALIDATION,
        alpha=0.06 + 0.34 * share,
        linewidth=0,
    )


def _finish(axes: "Axes") -> None:
    """Set both axes to 0 to 1, with a margin for lines on the border."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    _legend(axes)


def _legend(axes: "Axes") -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.01), ncols=2)


def _areas(evaluation: Evaluation, name: str) -> str:
    return f"Area under the curve: validation {evaluation.validation.metrics[name]:.3f}, test {evaluation.test.metrics[name]:.3f}."
