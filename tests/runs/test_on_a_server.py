"""A PostgreSQL server: it ends long reads, refuses writes, is silent, or has a row lock. And it has its start time.

Collected on PostgreSQL only.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, transaction
from django.utils import timezone

from gregory.database import run_token, waits
from gregory.database.errors import RowLocked
from gregory.launch.runner import Observation, Status
from gregory.models import Team
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ResultKind
from gregory.runs import db_retry, store
from gregory.runs.db_retry import close_connection, read_only_transaction, retry_on_disconnect
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from tests.database_rows import HERE, make_subject, make_team, opened
from tests.reconcile.pretend_cluster import PretendCluster

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
        ask("SELECT pg_sleep(600)::text")

    assert time.monotonic() - began < 300


def test_server_ends_an_idle_reader_and_the_reader_can_repeat(other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(db_retry, "PAUSE_SECONDS", 1)
    tries: list[int] = []

    def read() -> str:
        with read_only_transaction():
            tries.append(backend())
            if len(tries) == 1:
                wait_for_the_end(tries[0], other)
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


@pytest.fixture
def other() -> Iterator[psycopg.Connection]:
    """A session of another client, which may write, also to a read-only database."""
    here = connection.get_connection_params()
    options = {name: here[name] for name in ("dbname", "user", "password", "host", "port")}
    with psycopg.connect(**options, options="-c default_transaction_read_only=off") as session:
        yield session


@pytest.fixture
def read_only(other: psycopg.Connection) -> Iterator[Callable[[str], None]]:
    """Refuse the writes of new sessions, or accept them again."""

    def switch(value: str) -> None:
        other.execute(f'ALTER DATABASE "{connection.settings_dict["NAME"]}" SET default_transaction_read_only = {value}')
        other.commit()

    yield switch
    other.rollback()
    switch("off")


def backend() -> int:
    """The process of the server for the connection of this thread."""
    return int(ask("SELECT pg_backend_pid()::text"))


def wait_for_the_end(process: int, session: psycopg.Connection) -> None:
    """Wait until this process of the server has ended."""
    deadline = time.monotonic() + 300
    while session.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [process]).fetchone():
        assert time.monotonic() < deadline, "it still works"
        session.rollback()
        time.sleep(0.1)
    session.rollback()


def test_a_server_that_refuses_writes_is_waited_for_on_new_connections(subject, read_only: Callable[[str], None]):
    connection.close()
    read_only("on")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        # Sessions that are open now stay read-only.
        read_only("off")

    assert retry_on_disconnect(lambda: Team.objects.update(slug="other"), sleep=pause) == 1
    assert pauses == list(db_retry.PAUSES[:1])


def test_a_transaction_that_the_server_refuses_is_repeated_on_a_new_connection(subject, read_only: Callable[[str], None]):
    connection.close()
    read_only("on")

    @transaction.atomic
    def write() -> int:
        Team.objects.count()
        return Team.objects.update(slug="other")

    assert retry_on_disconnect(write, sleep=lambda seconds: read_only("off")) == 1


def test_an_error_of_the_program_is_not_repeated():
    for statement, expected in (("SELECT * FROM nothing", ProgrammingError), ("SELECT 1/0", DatabaseError)):
        with pytest.raises(expected) as raised:
            retry_on_disconnect(lambda statement=statement: ask(statement), sleep=lambda seconds: pytest.fail("no pause"))
        assert not isinstance(raised.value, OperationalError)


def test_every_write_has_limits_on_the_server_and_a_change_of_tables_has_none():
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with transaction.atomic():
        limits = [ask(f"SHOW {name}") for name in names]
    with connection.schema_editor():
        unlimited = [ask(f"SHOW {name}") for name in names]
    with transaction.atomic():
        again = [ask(f"SHOW {name}") for name in names]

    assert limits == again == ["10s", "30s", "30s"]
    assert unlimited == ["0", "0", "0"]
    # A session that a pool passes on has the settings of the server.
    assert [ask(f"SHOW {name}") for name in names] == ["0", "0", "0"]


def test_a_row_lock_of_another_client_delays_a_write_and_does_not_hold_it(subject, other, monkeypatch: pytest.MonkeyPatch):
    spec = opened(subject)
    monkeypatch.setattr(waits, "LOCK_SECONDS", 1)
    other.execute("SELECT 1 FROM gregory_runs_trainingrun FOR UPDATE")

    with pytest.raises(RowLocked, match="canceling statement due to lock timeout"):
        store.heartbeat([spec])
    assert retry_on_disconnect(lambda: store.heartbeat([spec]), sleep=lambda seconds: other.rollback()) is None


def test_a_locked_run_does_not_stop_the_ends_of_the_others(subject, other, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    team = make_team("another")
    submitted, queued, free = opened(subject), opened(make_subject(team, "queued")), opened(make_subject(team, "free"))
    for spec in (submitted, free):
        store.mark_submitted(spec, store.handle_of(TrainingRun.objects.get(pk=spec.run_id)))
    locked = [submitted.run_id, queued.run_id]
    monkeypatch.setattr(waits, "LOCK_SECONDS", 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("the other runs wait"))
    cluster, gone = PretendCluster(), Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="gone", reason=Reason.LOST))
    monkeypatch.setattr(cluster, "observe", lambda handles: [gone] * len(handles))
    other.execute("SELECT 1 FROM gregory_runs_trainingrun WHERE run_id = ANY(%s) FOR UPDATE", [locked])

    reconciler = Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900)
    results = {result.run.run_id: result for result in reconciler.reconcile_once()}

    for run_id in locked:
        assert "another client of the database holds a lock" in results[run_id].detail
        assert results[run_id].is_delayed
    assert (results[free.run_id].action, results[free.run_id].reason) == (ResultKind.CLOSED, Reason.LOST)


def test_a_client_that_stops_in_a_transaction_keeps_no_lock(subject, other, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waits, "IDLE_SECONDS", 1)

    @transaction.atomic
    def stop_within() -> None:
        Team.objects.update(slug="ours")
        # The server ends our transaction, and the update of the other client goes on.
        other.execute("UPDATE gregory_team SET slug = 'theirs'")
        other.commit()
        ask("SELECT 'still there?'")

    with pytest.raises(OperationalError, match="idle-in-transaction timeout"):
        stop_within()

    assert [team.slug for team in Team.objects.all()] == ["theirs"]


def test_a_silent_server_is_an_error_within_the_limit():
    process = backend()
    began = time.monotonic()
    os.kill(process, signal.SIGSTOP)
    try:
        with waits.answer_within(1), pytest.raises(OperationalError, match="no answer for 1 s"):
            ask("SELECT 'hello'")
    finally:
        os.kill(process, signal.SIGCONT)

    assert time.monotonic() - began < 300
    assert backend() != process


def test_the_end_of_the_process_shortens_a_wait_and_cancels_its_statement(other, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waits, "ENDING_SECONDS", 1.0)
    process, began = backend(), time.monotonic()

    with (
        waits.shortened_by(lambda: time.monotonic() - began > 1),
        pytest.raises(OperationalError, match="after the end of this process was requested"),
    ):
        ask("SELECT pg_sleep(600)::text")

    wait_for_the_end(process, other)
    assert time.monotonic() - began < 300


TOKEN = "SELECT coalesce(current_setting('gregory.run_token', true), '')"


def test_each_statement_of_a_run_has_its_token():
    with run_token.of_attempt("it's one"):
        alone = ask(TOKEN)
        with transaction.atomic():
            within = ask(TOKEN)
        with read_only_transaction():
            read = ask(TOKEN)

    assert (alone, within, read) == ("it's one",) * 3


def test_a_session_keeps_no_token_for_another_client():
    with run_token.of_attempt("one"):
        ask(TOKEN)
        connection.ensure_connection()
        left = connection.connection.execute(TOKEN).fetchone()

    assert left == ("",)
    assert ask(TOKEN) == ""


def test_a_row_that_another_client_holds_is_not_awaited(subject):
    runs = [opened(make_subject(subject.team, f"subject-{number}")) for number in range(3)]
    for spec in runs:
        store.mark_submitted(spec, HERE)
    read = [timed.run for timed in store.unfinished_runs()]
    waits_for = store.ObservedStatus(known=True, waiting_for="unschedulable: no GPU is free")
    other = connection.copy()
    try:
        with other.cursor() as cursor, transaction.atomic(using=connection.alias):
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM gregory_runs_trainingrun WHERE run_id = %s FOR UPDATE", [runs[1].run_id])
            recorded = store.record_observations((run, waits_for) for run in read)
    finally:
        other.close()

    assert recorded == {spec.run_id: spec is not runs[1] for spec in runs}
    assert set(TrainingRun.objects.exclude(waiting_for="").values_list("pk", flat=True)) == {runs[0].run_id, runs[2].run_id}
