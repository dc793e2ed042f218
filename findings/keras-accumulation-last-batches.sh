#!/usr/bin/env bash
# Subject:   gradient accumulation in Keras at the end of fit
# Versions:  keras 3.15.1 on jax 0.10.2
# Guess:     fit applies the gradients that are left when the data ends, as it trains on a last batch that is short.
# Behaviour: fit does not apply them, and it does not warn. An epoch of 3 batches with gradient_accumulation_steps=4 changes no weight
#            and still reports a loss.
# Control:   With gradient_accumulation_steps=3 the same 3 batches change the weights.
# Input:     A linear model and 12 rows of random numbers.
# Output seen with these versions:
#   CONTROL 3 batches, 3 steps: 1 updates, largest change 0.1000, finite loss True, 0 warnings
#   GUESS   3 batches, 4 steps: 1 updates, largest change about 0.1
#   SEEN    3 batches, 4 steps: 0 updates, largest change 0.0000, finite loss True, 0 warnings
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  absl-py==2.5.1 h5py==3.14.0 jax==0.10.2 jaxlib==0.10.2 keras==3.15.1 markdown-it-py==4.3.0 mdurl==0.1.2 ml-dtypes==0.6.0 \
  namex==0.1.0 numpy==2.4.6 opt-einsum==3.4.0 optree==0.20.0 packaging==26.3 pygments==2.21.0 rich==15.0.0 scipy==1.17.1 \
  typing-extensions==4.16.0

cd "$folder"
HOME="$folder" KERAS_BACKEND=jax JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I - <<'PY'
import sys
import warnings

import keras
import numpy as np

BATCHES, ROWS = 3, 4
rows = np.random.default_rng(1).random((BATCHES * ROWS, 5), dtype=np.float32)


def trained(steps):
    """One epoch: the largest change of a weight, the updates that the optimiser counts, a finite loss, the warnings of fit."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1, gradient_accumulation_steps=steps), "mse")
    before = model.get_weights()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        history = model.fit(rows, rows.sum(axis=1, keepdims=True), batch_size=ROWS, epochs=1, shuffle=False, verbose=0)
    change = max(float(abs(new - old).max()) for new, old in zip(model.get_weights(), before, strict=True))
    return change, int(model.optimizer.iterations), bool(np.isfinite(history.history["loss"]).all()), len(warned)


whole, left = trained(BATCHES), trained(BATCHES + 1)
for word, steps, (change, updates, finite, warned) in (("CONTROL", BATCHES, whole), ("SEEN   ", BATCHES + 1, left)):
    print(f"{word} {BATCHES} batches, {steps} steps: {updates} updates, largest change {change:.4f},", end=" ")
    print(f"finite loss {finite}, {warned} warnings")
    if word == "CONTROL":
        print(f"GUESS   {BATCHES} batches, {BATCHES + 1} steps: {updates} updates, largest change about {change:.1f}")
if not (whole[0] > 0.05 and whole[1] == 1 and left == (0.0, 0, True, 0)):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
