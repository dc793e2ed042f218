#!/bin/sh
# install.sh VENV LOCK: a virtual environment whose files are the same in every build of the same lock.
set -eu
if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi
python3 -m venv --without-pip "$1"
/opt/uv/bin/uv pip install --quiet --python "$1/bin/python" --require-hashes -r "$2"
# uv leaves it behind, for everybody to write.
rm -f "$1/.lock"

# Bytecode that is checked against no time stamp, so that it differs neither between builds nor from a copied layer. What a process
# has compiled before shows in what it compiles next: batches of the same files in the same order, each by a fresh process. Forced,
# and with nothing written beside: what Python imports at its start would get a time stamp, and be left alone for being up to date.
export PYTHONDONTWRITEBYTECODE=1
find "$1" -name '*.py' -print0 | LC_ALL=C sort -z \
    | xargs -0 -n 400 -P "$(nproc)" "$1/bin/python" -m compileall -q -f --invalidation-mode unchecked-hash
