#!/bin/sh
# install.sh VENV LOCK [slim [PATTERN...]]: make a virtual environment, with `slim` without the files that no run reads, and without the
# bytecode of packages that match a pattern. Two builds from one lock file have the same files.
set -eu
if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi
python3 -m venv --without-pip "$1"
/opt/uv/bin/uv pip install --quiet --python "$1/bin/python" --require-hashes -r "$2"
if [ "${3:-}" = slim ]; then python3 /usr/local/bin/slim.py "$1"; fi
# uv leaves this file, which every user may write.
rm -f "$1/.lock"
# Linux shows the variables of a process to its user, unless the user cannot read its program. Those of process 1 have the password of the
# database, as those of the run. A stage must not read them.
if [ -e "$1/bin/dumb-init" ]; then chmod 0711 "$1/bin/dumb-init"; fi

# Compile bytecode that is not checked against a time stamp. So it is the same in every build, and valid in a copied layer.
# Bytecode depends on the files that the same process compiled before. So each batch has the same files in the same order, and its own
# process. Without -f and PYTHONDONTWRITEBYTECODE, the modules that Python imports at its start would keep bytecode with a time stamp.
export PYTHONDONTWRITEBYTECODE=1
venv=$1
if [ $# -gt 3 ]; then shift 3; else set --; fi
for pattern in "$@"; do
    set -- "$@" ! -path "*/site-packages/$pattern/*"
    shift
done
find "$venv" -name '*.py' "$@" -print0 | LC_ALL=C sort -z \
    | xargs -0 -n 400 -P "$(nproc)" "$venv/bin/python" -m compileall -q -f --invalidation-mode unchecked-hash
