#!/usr/bin/env bash
# Subject:   the memory of a tf.function that uses tf.custom_gradient
# Versions:  tensorflow 2.21.0; Linux on x86-64, 3 GB of disk while it runs
# Guess:     When a function, its graph and its weights have no reference left, their memory is free.
# Behaviour: TensorFlow registers the gradient of each traced call under a name of its own, and never removes it. The registered
#            function refers to the graph, and the graph to the weights. So the weights of every network that was trained stay.
# Control:   The same step without the custom gradient frees its weights.
# Input:     A weight of one million numbers, and the gradient of its square. Three such steps, one after the other.
# Output seen with these versions:
#   CONTROL plain gradient: 0 of 3 weights are still in memory
#   GUESS   custom gradient: 0 of 3 weights are still in memory
#   SEEN    custom gradient: 3 of 3 weights are still in memory
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  absl-py==2.5.1 astunparse==1.6.3 certifi==2026.10.18 charset-normalizer==3.5.2 flatbuffers==25.12.19 gast==0.7.0 \
  google-pasta==0.2.0 grpcio==1.85.1 h5py==3.14.0 idna==3.20 keras==3.15.1 libclang==18.1.1 markdown-it-py==4.3.0 mdurl==0.1.2 \
  ml-dtypes==0.6.0 namex==0.1.0 numpy==2.4.6 opt-einsum==3.4.0 optree==0.20.0 packaging==26.3 protobuf==7.36.2 pygments==2.21.0 \
  requests==2.34.2 rich==15.0.0 setuptools==84.2.1 six==1.17.0 tensorflow==2.21.0 termcolor==3.3.0 typing-extensions==4.16.0 \
  urllib3==2.8.0 wheel==0.48.0 wrapt==2.5.2

cd "$folder"
HOME="$folder" CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=2 "$folder/venv/bin/python" -I - <<'PY'
import gc
import sys
import weakref

import tensorflow as tf

STEPS = 3
# Its advice about several traces of one function does not apply.
tf.get_logger().setLevel("ERROR")


@tf.custom_gradient
def own_square(value):
    return value * value, lambda upstream: 2 * value * upstream


def weight_of_a_step(square):
    """Compute one gradient in a graph. Returns a weak reference to the tensor that owns the numbers of its weight."""
    weight = tf.Variable(tf.ones(1_000_000))

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(square(tf.identity(weight)))
        return tape.gradient(loss, weight)

    assert float(step()[0]) == 2
    return weakref.ref(weight.handle)


def kept(square):
    weights = [weight_of_a_step(square) for _ in range(STEPS)]
    gc.collect()
    return sum(weight() is not None for weight in weights)


control, seen = kept(tf.square), kept(own_square)
print(f"CONTROL plain gradient: {control} of {STEPS} weights are still in memory")
print(f"GUESS   custom gradient: {control} of {STEPS} weights are still in memory")
print(f"SEEN    custom gradient: {seen} of {STEPS} weights are still in memory")
if (control, seen) != (0, STEPS):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
