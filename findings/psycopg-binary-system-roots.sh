#!/usr/bin/env bash
# Subject:   sslrootcert=system of libpq in psycopg's binary wheel
# Versions:  psycopg-binary 3.3.9 with its own OpenSSL 3, certifi 2026.6.17; Linux
# Guess:     sslrootcert=system trusts the certificates of the operating system, as the manual of libpq says.
# Behaviour: The wheel has an OpenSSL of its own, whose store of certificates is a file that exists on no system.
#            So sslrootcert=system loads no certificate, and every server is refused, also one that curl accepts.
# Control:   With SSL_CERT_FILE the same call loads the certificates of that file.
# Input:     The library of the wheel, and the certificates of certifi. libpq makes the same call for sslrootcert=system.
# Output seen with these versions:
#   psycopg-binary 3.3.9, OpenSSL 3
#   GUESS   certificates of sslrootcert=system: more than 0
#   SEEN    certificates of sslrootcert=system: 0, the file /usr/lib/psycopg-openssl/cert.pem exists: False
#   CONTROL the same call with SSL_CERT_FILE: more than 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: \
  certifi==2026.6.17 psycopg==3.3.9 psycopg-binary==3.3.9 typing-extensions==4.16.0

cd "$folder"
env -u SSL_CERT_FILE -u SSL_CERT_DIR "$folder/venv/bin/python" -I - <<'PY'
import ctypes
import os
import sys
from importlib import metadata
from pathlib import Path

import certifi
import psycopg

(libcrypto,) = (Path(psycopg.__file__).parent.parent / "psycopg_binary.libs").glob("libcrypto-*.so.*")
openssl = ctypes.CDLL(str(libcrypto))
openssl.X509_get_default_cert_file.restype = ctypes.c_char_p
openssl.X509_STORE_new.restype = openssl.X509_STORE_get0_objects.restype = ctypes.c_void_p
openssl.X509_STORE_set_default_paths.argtypes = openssl.X509_STORE_get0_objects.argtypes = [ctypes.c_void_p]
openssl.OPENSSL_sk_num.argtypes = [ctypes.c_void_p]


def certificates():
    """Number of certificates in the default store."""
    store = openssl.X509_STORE_new()
    openssl.X509_STORE_set_default_paths(store)
    return openssl.OPENSSL_sk_num(openssl.X509_STORE_get0_objects(store))


def check(kind, name, seen, right):
    print(f"{kind:7} {name}: {seen}")
    if not right:
        sys.exit(f"{name}: {seen}")


print(f"psycopg-binary {metadata.version('psycopg-binary')}, OpenSSL {openssl.OPENSSL_version_major()}")
place, found = openssl.X509_get_default_cert_file().decode(), certificates()
print("GUESS   certificates of sslrootcert=system: more than 0")
exists = os.path.exists(place)
check("SEEN", "certificates of sslrootcert=system", f"{found}, the file {place} exists: {exists}", found == 0 and not exists)
ctypes.CDLL(None).setenv(b"SSL_CERT_FILE", certifi.where().encode(), 1)
found = certificates()
check("CONTROL", "the same call with SSL_CERT_FILE", "more than 0" if found else "0", found > 0)
PY
