#!/usr/bin/env bash
# Subject:   the memory that TensorFlow on a CPU frees
# Versions:  tensorflow 2.21.0; Linux on x86-64, 3 GB of disk while it runs
# Guess:     When no tensor is left, malloc_trim gives the memory of the tensors back to the kernel, as it does for arrays of NumPy.
# Behaviour: With oneDNN, the default on x86-64, tensors on a CPU come from a pool of TensorFlow that never returns memory. A process
#            that trains and then saves or serves keeps the peak of the training until its end.
# Control:   Arrays of NumPy, and the same tensors with TF_ENABLE_ONEDNN_OPTS=0.
# Input:     64 tensors of 8 MiB, each the sum of a tensor and a number.
# Output seen with these versions:
#   CONTROL NumPy: 0 of 512 MiB stay
#   CONTROL TensorFlow without oneDNN: 0 of 512 MiB stay
#   GUESS   TensorFlow with oneDNN: 0 MiB stay
#   SEEN    TensorFlow with oneDNN: 552 of 552 MiB stay
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
measure() { # the kind of arrays
  HOME="$folder" CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=2 "$folder/venv/bin/python" -I - "$1" <<'PY'
import ctypes
import gc
import sys

import numpy as np
import tensorflow as tf

COUNT, ELEMENTS = 64, 2**21


def resident():
    """MiB of this process that belong to no file."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:")) / 1024


def arrays(elements):
    """COUNT arrays of so many numbers."""
    zeros = np.zeros(elements, np.float32) if sys.argv[1] == "numpy" else tf.zeros(elements)
    return [zeros + number for number in range(COUNT)]


# TensorFlow starts its threads with the first operation.
arrays(1)
before = resident()
made = arrays(ELEMENTS)
at_work = resident() - before
del made
print(round(at_work), round(resident() - before))
PY
}

check() { # name, kind of arrays, comparison of `test`, and the limit in MiB
  read -r at_work stays <<<"$(measure "$2")"
  echo "$1: $stays of $at_work MiB stay"
  [ "$at_work" -ge 500 ] && [ "$stays" "$3" "$4" ] || { echo "CHANGED: this is not the behaviour described above" >&2; exit 1; }
}

check "CONTROL NumPy" numpy -lt 64
export TF_ENABLE_ONEDNN_OPTS=0
check "CONTROL TensorFlow without oneDNN" tensorflow -lt 64
echo "GUESS   TensorFlow with oneDNN: $stays MiB stay"
export TF_ENABLE_ONEDNN_OPTS=1
check "SEEN    TensorFlow with oneDNN" tensorflow -gt 448
