"""The choice of a threshold in words: `0.8`, `best-f1` or `recall=0.95`. This module needs no NumPy."""

from dataclasses import dataclass

from gregory.ml.errors import ConfigError
from gregory.ml.evaluation import Evaluation, PartEvaluation

BEST_F1 = "best-f1"
_RECALL = "recall="
_FORMS = f"a number between 0 and 1 (0.8), {BEST_F1}, or {_RECALL}0.95"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A valid choice. number, recall: at most one is given. Both are None for the best f1."""

    number: float | None = None
    recall: float | None = None

    def __str__(self) -> str:
        if self.number is not None:
            return fixed(self.number)
        return BEST_F1 if self.recall is None else recall_of(self.recall)


def fixed(threshold: float) -> str:
    """The choice of a number."""
    return f"{threshold:.12g}"


def recall_of(recall: float) -> str:
    """The choice of the highest threshold with this recall on the validation part."""
    return f"{_RECALL}{recall:.12g}"


def parse(choice: str) -> Choice:
    """The choice that an operator wrote. Raises ConfigError with the value and the valid forms."""
    if choice == BEST_F1:
        return Choice()
    name, number = (_RECALL, choice.removeprefix(_RECALL)) if choice.startswith(_RECALL) else ("", choice)
    try:
        value = float(number)
    except ValueError:
        raise ConfigError(f"threshold {choice!r} is not valid; write {_FORMS}") from None
    if name and 0 < value <= 1:
        return Choice(recall=value)
    if not name and 0 < value < 1:
        return Choice(number=value)
    raise ConfigError(f"threshold {choice!r} is out of range; write {_FORMS}")


def threshold(evaluation: Evaluation, choice: str | None = None) -> float:
    """The threshold of a model for this choice. None: the model's own.

    Raises ConfigError if the choice is not valid, or the model was evaluated by an older release, which kept no thresholds.
    """
    if choice is None:
        return evaluation.threshold
    wanted = parse(choice)
    if wanted.number is not None:
        return wanted.number
    for point in evaluation.operating_points:
        if point.choice == str(wanted):
            return point.threshold.value
    found = None if wanted.recall is None else _on_curve(evaluation.validation, wanted.recall)
    if found is None:
        raise ConfigError(
            f"threshold {choice!r}: an older release trained this model and kept no thresholds; write a number, or train the subject again"
        )
    return found


def _on_curve(validation: PartEvaluation, recall: float) -> float | None:
    """The highest threshold of the kept curve with at least this recall. None without thresholds."""
    curve = validation.pr
    # Its recalls have six digits.
    points = zip(curve.recall, curve.thresholds, strict=False)
    return max((at for reached, at in points if at is not None and reached >= recall - 1e-6), default=None)
