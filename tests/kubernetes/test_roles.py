"""A taken-over pod of a run, with all that it has: its variables, its token and its database role."""

import json

import pytest

from tests.kubernetes.production import Production
from tests.roles import ROLE_PASSWORD

pytestmark = pytest.mark.slow

# Executes each statement with the credentials and the token of the pod. Prints the error, or the number of rows.
TRY = """
import json, os, sys, psycopg
token = json.loads(os.environ["GREGORY_RUN_SPEC"])["attempt_token"]
parts = {"host": "DB_HOST", "port": "DB_PORT", "dbname": "POSTGRES_DB", "user": "POSTGRES_USER", "password": "POSTGRES_PASSWORD"}
told = []
with psycopg.connect(**{name: os.environ[variable] for name, variable in parts.items()}) as connection:
    for statement in json.loads(sys.argv[1]):
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SELECT set_config('gregory.run_token', %s, true)", [token])
                told.append(connection.execute(statement).rowcount)
        except psycopg.Error as error:
            told.append(error.sqlstate)
print(json.dumps({"told": told, "variables": dict(os.environ), "account": os.path.exists("/var/run/secrets/kubernetes.io")}))
"""
NOT_ALLOWED = "42501"


def test_a_pod_reaches_no_other_run(production: Production):
    production.subjects("roles", "one", "two")
    with production.held.all():
        production.train("roles")
        one, two = (production.at_work("roles", subject) for subject in ("one", "two"))
        (pod,) = production.pods_of(one["run_id"])
        (other,) = production.sql("SELECT run_log_id AS id FROM gregory_runs_algorithmrun WHERE run_id = %s", two["run_id"])
        statements = {
            "UPDATE gregory_runs_trainingrun SET heartbeat_at = now()": 1,
            f"SELECT attempt_token FROM gregory_runs_trainingrun WHERE run_id = '{two['run_id']}'": 0,
            f"UPDATE gregory_runs_trainingrun SET state = 'failed' WHERE attempt_token = '{two['token']}'": 0,
            f"UPDATE gregory_predictionrunlog SET success = true WHERE id = {other['id']}": 0,
            "UPDATE gregory_runs_trainingrun SET attempt_token = 'x'": NOT_ALLOWED,
            f"UPDATE gregory_runs_algorithmrun SET run_log_id = {other['id']}": NOT_ALLOWED,
            "UPDATE gregory_runs_trainingrun SET spec = '{}'": NOT_ALLOWED,
            "UPDATE articles SET title = ''": NOT_ALLOWED,
        }

        place = ("--namespace", production.cluster_namespace.namespace, pod["metadata"]["name"])
        command = ("python", "-c", TRY, json.dumps(list(statements)))
        found = json.loads(production.cluster_namespace.cluster.must("exec", *place, "--", *command))

    assert dict(zip(statements, found["told"], strict=True)) == statements
    assert ROLE_PASSWORD not in found["variables"].values()
    assert found["account"] is False
    for row in (one, two):
        production.held.let_go(row["run_id"])
        assert production.until("roles", row["subject"], lambda seen: seen["finished"])["success"] is True
