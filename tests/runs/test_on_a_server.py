"""The services of a PostgreSQL server: it ends long reads, refuses writes in them, and has its start time.

Collected on PostgreSQL only.
"""

import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from gregory.models import Team
from gregory.runs import db_retry, store
from gregory.runs.db_retry import close_connection, read_only_transaction, retry_on_disconnect
from gregory.runs.models import TrainingRun
from tests.database_rows import opened

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def ask(statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def test_read_only_transaction_is_one_snapshot_and_refuses_writes(subject):
    with read_only_transaction():
        settings = [ask(f"SHOW {name}") for name in ("transaction_isolation", "transaction_read_only", "statement_timeout")]
    with pytest.raises(OperationalError, match="cannot execute UPDATE in a read-only transaction"), read_only_transaction():
        Team.objects.update(slug="other")

    assert settings == ["repeatable read", "on", "2min"]
    assert (ask("SHOW transaction_read_only"), ask("SHOW statement_timeout")) == ("off", "0")


def test_server_ends_a_read_above_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(db_retry, "STATEMENT_SECONDS", 1)
    began = time.monotonic()

    with pytest.raises(OperationalError, match="canceling statement due to statement timeout"), read_only_transaction():
        ask("SELECT pg_sleep(20)::text")

    assert time.monotonic() - began < 10


def test_server_ends_an_idle_reader_and_the_reader_can_repeat(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(db_retry, "PAUSE_SECONDS", 1)
    tries: list[str] = []

    def read() -> str:
        with read_only_transaction():
            tries.append(ask("SELECT 'first'"))
            time.sleep(2.5 if len(tries) == 1 else 0)
            return ask("SELECT 'second'")

    assert retry_on_disconnect(read, sleep=lambda seconds: None) == "second"
    assert len(tries) == 2


def test_connection_is_closed_outside_of_transactions():
    ask("SELECT 'x'")
    close_connection()
    assert connection.connection is None

    with read_only_transaction():
        close_connection()
        assert ask("SELECT 'still there'") == "still there"


def test_timers_count_from_a_restart_of_the_server(subject, monkeypatch: pytest.MonkeyPatch):
    run_id = opened(subject).run_id
    long_ago = timezone.now() - timedelta(days=30)
    TrainingRun.objects.update(heartbeat_at=long_ago, progress_at=long_ago)
    assert store.is_silent(run_id, 86_400)

    # The server has run for minutes, which is shorter than this grace period of a month.
    monkeypatch.setattr(db_retry, "RETURN_GRACE", 30 * 86_400.0)

    timed = store.run_with_timers(run_id)
    assert timed is not None
    assert timed.silent < 86_400 < timed.heard
    assert not store.is_silent(run_id, 86_400)
    assert [other.silent < 86_400 for other in store.unfinished_runs()] == [True]
