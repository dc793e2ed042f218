#!/usr/bin/env bash
# Subject:   times of the database's clock in Django on SQLite
# Versions:  django 5.2.19; seen with SQLite 3.40.1 of Python 3.11.7
# Guess:     A row that was written with Now() is found by its own time.
# Behaviour: It is not found, and it counts as earlier than its own time. SQLite has no type for times, so Django compares text.
#            Now() writes three digits of the second, and Python's datetime asks with six.
# Control:   A row that was written with Python's time is found by its own time and is not earlier than it.
# Input:     A table with one DateTimeField, in memory.
# Output seen with these versions:
#   CONTROL Python's time: found by its own time True, earlier than its own time False, 26 characters
#   GUESS   Now(): found by its own time True, earlier than its own time False, 23 characters
#   SEEN    Now(): found by its own time False, earlier than its own time True, 23 characters
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --only-binary :all: --no-deps \
  asgiref==3.13.0 django==5.2.19 sqlparse==0.6.1

cd "$folder"
HOME="$folder" "$folder/venv/bin/python" -I - <<'PY'
import sys

import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, USE_TZ=True)
django.setup()
from django.db import connection, models
from django.db.models.functions import Cast, Length, Now
from django.utils import timezone


class Row(models.Model):
    at = models.DateTimeField()

    class Meta:
        app_label = "example"


with connection.schema_editor() as editor:
    editor.create_model(Row)


def written(at):
    """A new row: found by its own time, earlier than its own time, characters of the stored text."""
    while True:
        row = Row.objects.get(pk=Row.objects.create(at=at()).pk)
        # A time of a full second is another case: Python asks without a fraction.
        if row.at.microsecond:
            break
    itself = Row.objects.filter(pk=row.pk)
    length = itself.annotate(length=Length(Cast("at", models.TextField()))).get().length
    return itself.filter(at=row.at).exists(), itself.filter(at__lt=row.at).exists(), length


words = "found by its own time {}, earlier than its own time {}, {} characters"
control, seen = written(timezone.now), written(Now)
print("CONTROL Python's time:", words.format(*control))
print("GUESS   Now():", words.format(*control[:2], seen[2]))
print("SEEN    Now():", words.format(*seen))
if not (control[:2] == (True, False) and seen[:2] == (False, True)):
    sys.exit("CHANGED: this is not the behaviour described above")
PY
