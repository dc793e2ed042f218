"""The gate: whether a new version is promoted after its training. Rules without I/O, and the file of their decisions.

`gate.json` beside the versions keeps the decision about each version, for `models list`.
"""

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gregory.ml.comparison import AREAS, MINIMUM, Comparison
from gregory.ml.errors import ArtifactError
from gregory.ml.evaluation import HALF, Evaluation
from gregory.ml.files import read_text, replace_text
from gregory.ml.promoting import locked
from gregory.ml.quality_warnings import LEAST_DEVIATION

GATE = "gate.json"
_MOST_DECISIONS = 200
_NAMES = {"roc_auc": "ROC AUC", "pr_auc": "PR AUC"}


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GateConfig(_Value):
    """margin: by which the areas of a new version may be lower. minimum: least number of articles of each class."""

    margin: float = Field(ge=0, lt=1)
    minimum: int = Field(MINIMUM, ge=1)


class Decision(_Value):
    """The decision about a version, with its reason."""

    version: str
    promoted: bool
    at: AwareDatetime
    reason: str


class _Decisions(_Value):
    decisions: tuple[Decision, ...] = ()


def unfit(evaluation: Evaluation) -> str:
    """The reason why a model is never promoted. Empty if there is none."""
    test = evaluation.test
    if test.metrics["roc_auc"] < HALF:
        return f"its ROC AUC on the test part is {test.metrics['roc_auc']:.3f}, worse than chance"
    if test.deviation < LEAST_DEVIATION:
        return f"it gives nearly the same probability to every test article (standard deviation {test.deviation:.2g})"
    return ""


def compared(comparison: Comparison, config: GateConfig, *, used: str) -> tuple[bool, str]:
    """Whether a new version is promoted after a comparison with the used one, and the reason.

    The differences count, and not their intervals: with few articles the interval of equal models is wider than any useful margin.
    """
    unseen = f"{comparison.relevant} relevant and {comparison.not_relevant} not relevant articles from which neither has learned"
    if not comparison.is_sufficient or not comparison.figures:
        return False, f"{unseen}: a comparison with {used} needs {comparison.minimum} of each"
    differences = {name: comparison.figures[name].difference for name in AREAS}
    words = ", ".join(f"{_NAMES[name]} {one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})" for name, one in differences.items())
    worse = any(one.value < -config.margin for one in differences.values())
    return not worse, f"{'worse' if worse else 'not worse'} than {used} by more than {config.margin:g}: {words}; {unseen}"


def read_decisions(folder: Path) -> dict[str, Decision]:
    """The decisions by version. Raises ArtifactError if the file is damaged, and OSError."""
    try:
        return {one.version: one for one in _Decisions.model_validate_json(read_text(folder / GATE)).decisions}
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise ArtifactError(f"{folder / GATE} is damaged: {error.errors()[0]['msg']}; remove it") from error


def keep_decision(folder: Path, decision: Decision) -> None:
    """Add a decision to the file. Raises ArtifactError and OSError."""
    with locked(folder):
        known = {**read_decisions(folder), decision.version: decision}
        kept = _Decisions(decisions=tuple(known.values())[-_MOST_DECISIONS:])
        replace_text(folder / GATE, kept.model_dump_json(indent=2) + "\n")
