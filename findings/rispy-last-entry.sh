#!/usr/bin/env bash
# Subject:   the last reference of a RIS file that does not end with ER, read by rispy
# Versions:  rispy 0.10.0
# Guess:     loads returns every reference that begins with TY, or raises an error for the one without its end. Copies from a
#            browser and interrupted downloads end in this way.
# Behaviour: loads leaves the last reference out, without an error or a warning. Its TY, title and authors were read. rispy adds
#            a reference to its result only at ER.
# Control:   The same text with a line ER has two references.
# Input:     Two references of two lines, the second one without ER.
# Known:     no issue found.
# Output seen with these versions:
#   CONTROL with ER at the end: ['Tea', 'Coffee']
#   GUESS   without it: ['Tea', 'Coffee'], or an error
#   SEEN    without it: ['Tea']
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps rispy==0.10.0

cd "$folder"
HOME="$folder" "$folder/venv/bin/python" -I - <<'PY'
import sys
import warnings

import rispy

REFERENCE, END = "TY  - JOUR\nTI  - {}\n", "ER  - \n"
# A warning would be an error here.
warnings.simplefilter("error")


def titles(text: str) -> list[str]:
    return [entry["title"] for entry in rispy.loads(text)]


cut = REFERENCE.format("Tea") + END + REFERENCE.format("Coffee")
control = titles(cut + END)
print(f"CONTROL with ER at the end: {control}")
print(f"GUESS   without it: {control}, or an error")
seen = titles(cut)
print(f"SEEN    without it: {seen}")
if not (control == ["Tea", "Coffee"] and seen == ["Tea"]):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
