"""The twelve numbers of metrics.json, computed in the same way for every algorithm."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the commands print metrics without the libraries that compute them
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc")


def measure(labels: "NDArray[np.int8]", probabilities: "NDArray[np.float64]", threshold: float) -> dict[str, float]:
    """The six metrics of one part.

    labels, probabilities: arrays (n,). An article counts as relevant from the probability `threshold` on.
    Precision, recall and f1 belong to the relevant class and are 0 if undefined. roc_auc and pr_auc (average precision) do not
    depend on the threshold. Raises ValueError if `labels` lacks a class or a probability is not a number in [0, 1].
    """
    import numpy as np
    from sklearn import metrics as sk

    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError(f"probabilities must lie in [0, 1]; {np.count_nonzero(np.isnan(probabilities))} of {len(probabilities)} are NaN")
    if len(np.unique(labels)) < 2:
        raise ValueError("metrics need both classes; the part has one")
    predicted = probabilities >= threshold
    return {
        "accuracy": float(sk.accuracy_score(labels, predicted)),
        "precision": float(sk.precision_score(labels, predicted, zero_division=0)),
        "recall": float(sk.recall_score(labels, predicted, zero_division=0)),
        "f1": float(sk.f1_score(labels, predicted, zero_division=0)),
        "roc_auc": float(sk.roc_auc_score(labels, probabilities)),
        "pr_auc": float(sk.average_precision_score(labels, probabilities)),
    }


def flat(validation: dict[str, float], test: dict[str, float], threshold: float) -> dict[str, float]:
    """The content of metrics.json: val_* and test_* for each name, and the threshold."""
    return {
        **{f"val_{name}": validation[name] for name in NAMES},
        **{f"test_{name}": test[name] for name in NAMES},
        "prob_threshold": threshold,
    }
