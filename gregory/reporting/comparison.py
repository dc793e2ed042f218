"""The comparison of two models as text and JSON."""

from typing import Any

from tabulate import tabulate

from gregory.ml.comparison import Comparison
from gregory.output import counted

_NAMES = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC", "recall": "recall at the threshold"}


def comparison_facts(comparison: Comparison, *, first: str, second: str) -> dict[str, Any]:
    """The comparison for JSON. first, second: the names of the versions."""
    return {"first": first, "second": second, "conclusion": comparison.conclusion, **comparison.model_dump(mode="json")}


def comparison_text(comparison: Comparison, *, first: str, second: str) -> str:
    """The conclusion, the compared articles, the figures and the flipped articles."""
    lines = [f"{second} against {first}: {comparison.conclusion}", articles(comparison)]
    if not comparison.is_sufficient:
        lines.append(f"A conclusion needs {comparison.minimum} articles of each class.")
    if comparison.figures:
        lines.append(str(tabulate(figures(comparison), headers=["figure", first, second, "difference"], disable_numparse=True)))
    if comparison.flips:
        shown = "" if comparison.flipped == len(comparison.flips) else f", the first {len(comparison.flips)}"
        lines.append(f"{counted(comparison.flipped, 'article')} that only one of them selects{shown}:")
        flips = [[one.article_id, "yes" if one.label else "no", f"{one.first:.3f}", f"{one.second:.3f}"] for one in comparison.flips]
        lines.append(str(tabulate(flips, headers=["article", "relevant", first, second], disable_numparse=True)))
    return "\n".join(lines)


def figures(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """The figures: name, first, second, and the difference with its interval."""
    return [
        (_NAMES[name], f"{one.first:.3f}", f"{one.second:.3f}", difference(comparison, name)) for name, one in comparison.figures.items()
    ]


def articles(comparison: Comparison) -> str:
    """The numbers of compared and left out articles."""
    asked = f", {counted(comparison.asked, 'answer')} asked now" if comparison.asked else ""
    left_out = [f"{comparison.learned} from which a model has learned"]
    if comparison.unasked:
        left_out.append(f"{comparison.unasked} with one stored probability and no text")
    compared = f"{comparison.relevant} relevant and {comparison.not_relevant} not relevant articles"
    return f"Compared: {compared}{asked}. Left out: {', '.join(left_out)}."


def difference(comparison: Comparison, name: str) -> str:
    """The difference of a figure with its 95 % interval."""
    figure = comparison.figures[name].difference
    return f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"
