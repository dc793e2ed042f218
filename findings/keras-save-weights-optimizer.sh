#!/usr/bin/env bash
# Subject:   the file that Keras' save_weights writes
# Versions:  keras 3.15.1 on jax 0.10.2
# Guess:     save_weights writes the arrays of model.weights, so training does not change the size of the file.
# Behaviour: After training with Adam the file also holds the optimiser's two moments of each weight: three times the bytes.
#            model.weights does not list them.
# Control:   The same weights, saved from an uncompiled model of the same layers, take a third.
# Input:     A network of one hidden layer and 64 rows of random numbers.
# Output seen with these versions:
#   GUESS   model.weights: 101001 numbers in 4 arrays
#   SEEN    file of the compiled model: 303003 numbers in 12 arrays
#   CONTROL file of the uncompiled model: 101001 numbers in 4 arrays
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

import h5py
import keras
import numpy as np

keras.utils.set_random_seed(1)
rows = np.random.default_rng(1).random((64, 200), dtype=np.float32)
model = keras.Sequential([keras.Input((200,)), keras.layers.Dense(500), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(rows, rows.sum(axis=1, keepdims=True), verbose=0)


def numbers(name):
    """The count of numbers and of arrays in a weight file, scalars left out."""
    sizes = []
    with h5py.File(name) as file:
        file.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) and item.ndim else None)
    return sum(sizes), len(sizes)


model.save_weights("compiled.weights.h5")
keras.Model(model.inputs, model.outputs).save_weights("uncompiled.weights.h5")
expected = sum(int(np.prod(weight.shape)) for weight in model.weights), len(model.weights)
seen, control = numbers("compiled.weights.h5"), numbers("uncompiled.weights.h5")

print(f"GUESS   model.weights: {expected[0]} numbers in {expected[1]} arrays")
print(f"SEEN    file of the compiled model: {seen[0]} numbers in {seen[1]} arrays")
print(f"CONTROL file of the uncompiled model: {control[0]} numbers in {control[1]} arrays")
if not (control == expected and seen == (3 * expected[0], 3 * expected[1])):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
