#!/usr/bin/env bash
# Subject:   subsample of LightGBM's scikit-learn class, beside the parameter of that name in scikit-learn
# Versions:  lightgbm 4.7.0, scikit-learn 1.9.1; needs the system library libgomp
# Guess:     subsample=0.2 grows each tree from a fifth of the rows, as in scikit-learn's gradient boosting.
# Behaviour: LightGBM draws no sample: subsample=0.2 and subsample=1.0 grow the same trees, without a warning.
#            A sample needs subsample_freq as well.
# Control:   scikit-learn's probabilities change with subsample alone. LightGBM's change with subsample_freq=1.
# Input:     2,000 rows of random numbers with a label from two of them.
# Output seen with these versions:
#   CONTROL scikit-learn, subsample alone: a probability moves by up to 0.250
#   GUESS   LightGBM, subsample alone: a probability moves by up to 0.256
#   SEEN    LightGBM, subsample alone: a probability moves by up to 0.000, 0 warnings of sampling
#   CONTROL LightGBM, subsample with subsample_freq=1: a probability moves by up to 0.256
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  cloudpickle==3.1.2 joblib==1.6.0 lightgbm==4.7.0 narwhals==2.29.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1 threadpoolctl==3.8.0

cd "$folder"
HOME="$folder" "$folder/venv/bin/python" -I - <<'PY'
import sys
import warnings

import numpy as np
from lightgbm import LGBMClassifier, register_logger
from sklearn.ensemble import GradientBoostingClassifier


class Logger:
    """Collects LightGBM's own warnings."""

    def __init__(self):
        self.warnings = []

    def info(self, text):
        pass

    def warning(self, text):
        self.warnings.append(text)


logger = Logger()
register_logger(logger)
random = np.random.default_rng(1)
rows = random.normal(size=(2000, 6))
labels = (rows[:, 0] + rows[:, 1] + random.normal(size=2000) > 0).astype(int)


def change(model, **options):
    """How far subsample=0.2 moves a probability, at most."""
    settings = {"n_estimators": 20, "random_state": 1, **options}
    some, every = (model(subsample=share, **settings).fit(rows, labels).predict_proba(rows) for share in (0.2, 1.0))
    return float(abs(some - every).max())


lightgbm = {"verbose": 1, "num_leaves": 8, "n_jobs": 1, "deterministic": True, "force_col_wise": True}
peer = change(GradientBoostingClassifier)
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    alone = change(LGBMClassifier, **lightgbm)
words = [*logger.warnings, *(str(warning.message) for warning in warned)]
sampling = sum("subsample" in word or "bagging" in word for word in words)
both = change(LGBMClassifier, subsample_freq=1, **lightgbm)

print(f"CONTROL scikit-learn, subsample alone: a probability moves by up to {peer:.3f}")
print(f"GUESS   LightGBM, subsample alone: a probability moves by up to {both:.3f}")
print(f"SEEN    LightGBM, subsample alone: a probability moves by up to {alone:.3f}, {sampling} warnings of sampling")
print(f"CONTROL LightGBM, subsample with subsample_freq=1: a probability moves by up to {both:.3f}")
if not (alone == 0.0 and sampling == 0 and both > 0.01 and peer > 0.01):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
