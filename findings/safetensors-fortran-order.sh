#!/usr/bin/env bash
# Subject:   a NumPy array in Fortran order, written by safetensors
# Versions:  safetensors 0.8.0, 0.7.0; numpy 2.4.6
# Guess:     load_file returns the values that save_file was given. A transposed weight is contiguous, as save_file asks.
# Behaviour: save_file of 0.8.0 writes the memory of the array under the shape of the array. The values come back in another
#            order, without an error. Weights from Keras or scikit-learn that are transposed for another layout are such arrays.
# Control:   0.7.0 returns the values. So does 0.8.0 after numpy.ascontiguousarray.
# Input:     The transpose of a 2 x 3 array.
# Known:     safetensors issue 825.
# Output seen with these versions:
#   CONTROL safetensors 0.7.0: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
#   CONTROL safetensors 0.8.0, ascontiguousarray: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
#   GUESS   safetensors 0.8.0: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
#   SEEN    safetensors 0.8.0: [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  numpy==2.4.6 safetensors==0.8.0
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  --target "$folder/older" safetensors==0.7.0

cd "$folder"
cat >written.py <<'PY'
import sys

if len(sys.argv) > 1:
    sys.path.insert(0, sys.argv[1])
import json

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

weight = np.arange(6, dtype=np.float32).reshape(2, 3).T
assert weight.flags.f_contiguous
read = {}
for name, array in (("as it is", weight), ("ascontiguousarray", np.ascontiguousarray(weight))):
    save_file({"weight": array}, "weight.safetensors")
    read[name] = load_file("weight.safetensors")["weight"].tolist()
json.dump({"version": safetensors.__version__, "given": weight.tolist(), **read}, sys.stdout)
PY
HOME="$folder" "$folder/venv/bin/python" -I written.py >newer.json
HOME="$folder" "$folder/venv/bin/python" -I written.py "$folder/older" >older.json
"$folder/venv/bin/python" -I - <<'PY'
import json
import sys
from pathlib import Path

newer, older = (json.loads(Path(f"{name}.json").read_text()) for name in ("newer", "older"))
print(f"CONTROL safetensors {older['version']}: {older['as it is']}")
print(f"CONTROL safetensors {newer['version']}, ascontiguousarray: {newer['ascontiguousarray']}")
print(f"GUESS   safetensors {newer['version']}: {newer['given']}")
print(f"SEEN    safetensors {newer['version']}: {newer['as it is']}")
wanted = newer["given"]
if not (older["as it is"] == newer["ascontiguousarray"] == wanted and newer["as it is"] != wanted):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
