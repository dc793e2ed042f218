"""Disturbances of the database: killed, stopped, locked, read-only."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import LiteralString

import psutil
import psycopg

from tools.chaos.chaos_env import ChaosEnv

LOCKS = (
    # As a migration or a dump that waits: readers continue.
    "lock table gregory_runs_trainingrun in share row exclusive mode",
    # As a client that was killed in a transaction.
    "select 1 from gregory_runs_trainingrun where state not in ('succeeded', 'failed', 'cancelled') for update",
)


@contextmanager
def killed(env: ChaosEnv) -> Iterator[None]:
    env.server.stop(crash=True)
    try:
        yield
    finally:
        env.server.start()


@contextmanager
def stopped(env: ChaosEnv) -> Iterator[None]:
    """Every process of the server gets SIGSTOP. Connections stay open, and no statement is answered."""
    server = psutil.Process(env.server.pid)
    server.send_signal(signal.SIGSTOP)
    # A stopped server starts no process.
    everyone = [*server.children(recursive=True), server]
    _send(everyone, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(everyone, signal.SIGCONT)


@contextmanager
def locked(env: ChaosEnv, which: int) -> Iterator[None]:
    """Another client holds locks on the runs. The end of its connection releases them."""
    connection = env.connect()
    connection.autocommit = False
    try:
        connection.execute(LOCKS[which % len(LOCKS)])
        yield
    finally:
        with suppress(psycopg.Error):
            connection.close()


@contextmanager
def read_only(env: ChaosEnv) -> Iterator[None]:
    """New transactions cannot write, as on a standby."""
    _set(env, "alter system set default_transaction_read_only = on")
    try:
        yield
    finally:
        _set(env, "alter system reset default_transaction_read_only")


def _set(env: ChaosEnv, statement: LiteralString) -> None:
    with env.connect() as connection:
        connection.execute(statement)
        connection.execute("select pg_reload_conf()")


def _send(found: list[psutil.Process], number: int) -> None:
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
