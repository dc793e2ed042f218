"""The table of reasons, and the places that depend on it."""

import os
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import call_command

from gregory.ml.stages.contract import KINDS, kind_of
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import REPORT_TAKES_PRECEDENCE, RESUMABLE, RETRYABLE, Origin, Reason

# Starts with a reason more than the source has, then asks for the migrations that this makes necessary.
ONE_MORE_REASON = """
import sys, types
from pathlib import Path

source = Path("gregory/runs/reasons.py").read_text()
entry = 'Entry(word="one_more", origin=Origin.START, meaning="", row_text="", remedy="")'
module = types.ModuleType("gregory.runs.reasons")
sys.modules[module.__name__] = module
exec(source.replace("    BAD_DATA = ", f"    ONE_MORE = {entry}\\n    BAD_DATA = "), module.__dict__)

import django
from django.core.management import call_command

django.setup()
from gregory.runs.spec import Reason
assert Reason("one_more") is module.Reason.ONE_MORE
call_command("makemigrations", "--check", "--dry-run")
"""


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_fits_into_its_columns(reason: Reason):
    for model in (TrainingRun, AlgorithmRun):
        assert len(reason) <= model._meta.get_field("reason").max_length


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_has_the_name_of_its_word_and_complete_texts(reason: Reason):
    assert reason.name.lower() == reason.value == str(reason)
    for text in (reason.entry.meaning, reason.entry.row_text, reason.entry.remedy):
        assert text.endswith(".")
        # The texts are cells of a table.
        assert "|" not in text


@pytest.mark.parametrize(("error", "word"), KINDS)
def test_each_kind_of_failed_stage_is_a_reason_of_a_training(error: type[BaseException], word: str):
    assert Reason(word).entry.origin is Origin.TRAINING


def test_an_unknown_error_of_a_stage_is_a_reason():
    assert Reason(kind_of(Exception())) is Reason.ERROR


def test_reasons_after_which_a_reconciler_starts_another_attempt():
    assert {Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.INTERRUPTED} == RETRYABLE


def test_a_retried_reason_also_offers_the_resume():
    assert RETRYABLE <= RESUMABLE


def test_no_cause_that_the_cluster_names_gives_way_to_the_report():
    assert not REPORT_TAKES_PRECEDENCE & {Reason.DELETED, Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.DEADLINE}


def test_another_reason_needs_no_migration():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}

    made = subprocess.run([sys.executable, "-c", ONE_MORE_REASON], env=environment, capture_output=True, text=True, check=False)

    assert (made.returncode, made.stdout, made.stderr) == (0, "No changes detected\n", "")


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_the_migration_that_removes_the_choices_changes_no_table():
    printed = StringIO()

    call_command("sqlmigrate", "gregory_runs", "0004", stdout=printed)

    statements = {line for line in printed.getvalue().splitlines() if not line.startswith("--")}
    assert statements <= {"", "BEGIN;", "COMMIT;"}
