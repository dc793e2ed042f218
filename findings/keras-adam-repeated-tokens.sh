#!/usr/bin/env bash
# Subject:   Keras' Adam with an embedding, on TensorFlow beside JAX
# Versions:  keras 3.15.1, tensorflow 2.21.0, jax 0.10.2; Linux on x86-64, 3 GB of disk while it runs
# Guess:     One network, one batch and one optimiser of Keras give the same update on both backends.
# Behaviour: TensorFlow gives the gradient of an embedding as one row for each token. Adam squares these rows before it sums them.
#            A word that occurs n times gets a step that is the square root of n times too long. JAX sums the rows first.
# Control:   With SGD, which squares nothing, both backends give the same update.
# Input:     An embedding of four words, its mean, and one text of five tokens with one word four times.
# Output seen with these versions:
#   CONTROL SGD, jax: word four times 0.01600, word once 0.00400
#   CONTROL SGD, tensorflow: word four times 0.01600, word once 0.00400
#   GUESS   Adam, as jax: word four times 0.01000, word once 0.01000
#   SEEN    Adam, tensorflow: word four times 0.02000, word once 0.01000
#   SEEN    Adam, word four times: the step of tensorflow is 2.00 times that of jax
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  absl-py==2.5.1 astunparse==1.6.3 certifi==2026.10.18 charset-normalizer==3.5.2 flatbuffers==25.12.19 gast==0.7.0 \
  google-pasta==0.2.0 grpcio==1.85.1 h5py==3.14.0 idna==3.20 jax==0.10.2 jaxlib==0.10.2 keras==3.15.1 libclang==18.1.1 \
  markdown-it-py==4.3.0 mdurl==0.1.2 ml-dtypes==0.6.0 namex==0.1.0 numpy==2.4.6 opt-einsum==3.4.0 optree==0.20.0 \
  packaging==26.3 protobuf==7.36.2 pygments==2.21.0 requests==2.34.2 rich==15.0.0 scipy==1.17.1 setuptools==84.2.1 \
  six==1.17.0 tensorflow==2.21.0 termcolor==3.3.0 typing-extensions==4.16.0 urllib3==2.8.0 wheel==0.48.0 wrapt==2.5.2

cd "$folder"
# A process has one backend.
cat >step.py <<'PY'
import json
import sys

import keras
import numpy as np

TEXT = [1, 1, 1, 1, 2]


def steps(optimiser):
    """The first update of the repeated word's vector and of the other word's, as lengths."""
    network = keras.Sequential([
        keras.Input((len(TEXT),), dtype="int32"),
        keras.layers.Embedding(4, 1, embeddings_initializer="ones"),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(1, kernel_initializer="ones"),
    ])
    network.compile(optimiser, "mse", jit_compile=False)
    network.train_on_batch(np.array([TEXT]), np.zeros((1, 1), dtype=np.float32))
    vectors = network.layers[0].get_weights()[0]
    return [round(float(1 - vectors[word, 0]), 5) for word in (1, 2)]


json.dump({"adam": steps(keras.optimizers.Adam(0.01)), "sgd": steps(keras.optimizers.SGD(0.01))}, sys.stdout)
PY
for backend in tensorflow jax; do
  if ! HOME="$folder" KERAS_BACKEND=$backend JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3 \
    "$folder/venv/bin/python" -I step.py >"$backend.json" 2>"$backend.log"; then
    cat "$backend.log" >&2
    exit 1
  fi
done
"$folder/venv/bin/python" -I - <<'PY'
import json
import math
import sys
from pathlib import Path

seen, control = (json.loads(Path(f"{backend}.json").read_text()) for backend in ("tensorflow", "jax"))
for backend, steps in (("jax", control), ("tensorflow", seen)):
    print(f"CONTROL SGD, {backend}: word four times {steps['sgd'][0]:.5f}, word once {steps['sgd'][1]:.5f}")
print(f"GUESS   Adam, as jax: word four times {control['adam'][0]:.5f}, word once {control['adam'][1]:.5f}")
print(f"SEEN    Adam, tensorflow: word four times {seen['adam'][0]:.5f}, word once {seen['adam'][1]:.5f}")
ratio = seen["adam"][0] / control["adam"][0]
print(f"SEEN    Adam, word four times: the step of tensorflow is {ratio:.2f} times that of jax")


def close(some, others):
    return all(math.isclose(one, other, abs_tol=1e-5) for one, other in zip(some, others, strict=True))


once = close(seen["adam"][1:], control["adam"][1:])
if not (close(seen["sgd"], control["sgd"]) and once and math.isclose(ratio, math.sqrt(4), rel_tol=0.01)):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
