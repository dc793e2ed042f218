"""A LightGBM model as pickles: the two joblib files of the specification, for other programs.

Unpickling runs code. This project does it only in `convert`, for a folder of an older release and on explicit request. No other module
imports joblib or pickle for models.
"""

from pathlib import Path
from typing import Any

import joblib

from gregory.ml.trainers import lgbm_data

CLASSIFIER_FILE = "lgbm_classifier.joblib"
VECTORISER_FILE = "tfidf_vectorizer.joblib"


def write(folder: Path, *, vectoriser: Any, classifier: Any) -> None:
    """Write both files."""
    joblib.dump(classifier, folder / CLASSIFIER_FILE, compress=3)
    joblib.dump(vectoriser, folder / VECTORISER_FILE, compress=3)


def convert(folder: Path) -> None:
    """Make the data files of an older release's model from its pickles. If the data files exist, no pickle is read."""
    if not lgbm_data.are_in(folder):
        vectoriser, classifier = (joblib.load(folder / name) for name in (VECTORISER_FILE, CLASSIFIER_FILE))
        lgbm_data.write(folder, vectoriser=vectoriser, booster=classifier.booster_)
