"""The baseline: TF-IDF and logistic regression on the same parts. A model that is not better than it does not need its time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gregory.ml.split import Part

NAME = "TF-IDF and logistic regression"
# The usual solver needs tens of iterations. An unfinished fit is still a baseline.
_MOST_ITERATIONS = 300


def baseline(train: Part, texts: Sequence[str]) -> NDArray[np.float64] | None:
    """The probabilities that the baseline gives to `texts`, with the parameters of scikit-learn. None if no text has a word."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectoriser = TfidfVectorizer()
    try:
        matrix = vectoriser.fit_transform(train.texts)
    except ValueError:
        # It has no class of its own: "empty vocabulary".
        return None
    model = LogisticRegression(max_iter=_MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(matrix, train.labels)
    return np.asarray(model.predict_proba(vectoriser.transform(texts))[:, 1])
