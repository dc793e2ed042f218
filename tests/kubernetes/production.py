"""An installation whose runs are Jobs: the commands of an operator, and the rows in PostgreSQL."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row

from gregory.launch.kubernetes.diagnose.pod_status import is_finished
from gregory.launch.kubernetes.pod_patch import merged
from tests import roles
from tests.kubernetes.pod_processes import Held, holding
from tools import postgresql
from tools.chaos import scripted_work
from tools.cluster import run_image
from tools.cluster.namespace import ClusterNamespace
from tools.installation import REPOSITORY, Installation, create_migrated

ROWS = """
SELECT team.slug AS team, subject.subject_slug AS subject, log.algorithm, log.model_version AS version, log.success,
  log.run_finished IS NOT NULL AS finished, log.error_message AS error, algorithm.reason, algorithm.metrics,
  algorithm.artifact_path AS artifact, run.run_id, run.state, run.reason AS run_reason, run.detail, run.attempt, run.retries,
  run.external_name AS job, run.external_uid AS uid, run.exit_code, run.node, run.log_tail, run.waiting_for, run.unknown_since,
  run.missing_since, run.attempt_token AS token, run.spec
FROM gregory_predictionrunlog log
  JOIN gregory_runs_algorithmrun algorithm ON algorithm.run_log_id = log.id
  JOIN gregory_runs_trainingrun run ON run.run_id = algorithm.run_id
  JOIN subjects subject ON subject.id = log.subject_id
  JOIN gregory_team team ON team.id = log.team_id
WHERE team.slug = %s ORDER BY log.id
"""
ARTICLES = """
from gregory.data.imports.read import ImportRow, article_urn
from gregory.data.store import import_rows
from tests.articles import labelled
rows = [ImportRow(source_id=str(row.article_id), title=row.title, summary=row.summary, link=article_urn(row.article_id),
                  label=row.relevant == "1", discovery_date=None) for row in labelled(24, first=1)]
for team, subject in {pairs!r}:
    import_rows(rows, team_slug=team, subject_slug=subject)
"""
# User of the containers.
USER = 10_001
Row = dict[str, Any]


@dataclass(kw_only=True)
class Production:
    """`installation` has the commands, `cluster_namespace` the namespace, `held` the runs whose training is stopped."""

    installation: Installation
    cluster_namespace: ClusterNamespace
    server: postgresql.Server
    database: str
    held: Held
    _connection: psycopg.Connection[Row] | None = field(default=None, init=False)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def models(self) -> Path:
        """The folder behind the volume of the runs."""
        return self.cluster_namespace.folder / "models"

    def prepare(self, image: str) -> None:
        """Create the namespace, the database, and a cluster file that names both."""
        self.cluster_namespace.prepare(image)
        create_migrated(self.server, self.database)
        here = {"name": "postgresql", "namespace": self.cluster_namespace.namespace}
        password = {"POSTGRES_PASSWORD": roles.RUN_PASSWORD}
        self.cluster_namespace.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": here, "stringData": password})
        self.cluster_namespace.config |= {
            "database": {
                "existingSecret": "postgresql",
                "host": self.cluster_namespace.cluster.host,
                "port": self.server.port,
                "name": self.database,
                "user": roles.RUN_ROLE,
            },
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "1Gi"}},
            "gracePeriodSeconds": 20,
        }
        if image == run_image.SCRIPTED:
            self.cluster_namespace.config["podTemplatePatch"] = scripted_work.PATCH
        (self.cluster_namespace.folder / "cluster.yaml").write_text(json.dumps(self.cluster_namespace.config))
        for folder in (self.models, self.models / scripted_work.MARKS):
            folder.mkdir()
            os.chown(folder, USER, USER)
        roles.grant(self.server, self.database)
        self.installation.environment |= roles.OF_COMMANDS

    def subjects(self, team: str, *subjects: str) -> None:
        """Create subjects, each with two dozen labelled articles."""
        self.subjects_of_teams((team, subject) for subject in subjects)

    def subjects_of_teams(self, pairs: Iterable[tuple[str, str]]) -> None:
        """The same for pairs of team and subject, in one process."""
        self.as_owner("shell", "--no-imports", "-c", ARTICLES.format(pairs=list(pairs)))

    def as_owner(self, *command: str) -> None:
        """A management command that writes articles."""
        done = self.installation.manage(*command, **self.server.environment(self.database))
        assert done.returncode == 0, done.stderr

    def cluster_file(self, **changes: Any) -> str:
        """Write another cluster file with these changes. Returns its path."""
        file = self.cluster_namespace.folder / f"cluster-{uuid4().hex[:8]}.yaml"
        file.write_text(json.dumps(merged(self.cluster_namespace.config, changes)))
        return str(file)

    def train(self, team: str, *flags: str, code: int = 0, algorithms: str = "lgbm_tfidf", **changes: Any) -> CompletedProcess[str]:
        """`train_models` for the team, with a cluster file that has these changes. code: the expected exit code."""
        command = ("train_models", "--team", team, "--all-articles", "--algo", algorithms, *flags)
        done = self.installation.manage(*command, timeout=1200, GREGORY_CLUSTER_CONFIG=self.cluster_file(**changes))
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def reconcile(self, *, sees_models: bool = False, **changes: Any) -> str:
        """One pass of a reconciler.

        sees_models: whether it can read the volume. A reconciler on an operator's machine cannot.
        """
        variables = {"GREGORY_CLUSTER_CONFIG": self.cluster_file(**changes)}
        if sees_models:
            variables["TEST_MODELS_DIR"] = str(self.models)
        done = self.installation.manage("reconcile_runs", "--once", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def reconciling(self, *, kubeconfig: Path | None = None, **changes: Any) -> Iterator[None]:
        """A reconciler with a pass each second, for the block. kubeconfig: of another account than the administrator."""
        environment = {**self.installation.environment, "GREGORY_CLUSTER_CONFIG": self.cluster_file(**changes)}
        if kubeconfig is not None:
            environment["KUBECONFIG"] = str(kubeconfig)
        command = [sys.executable, str(REPOSITORY / "manage.py"), "reconcile_runs", "--interval", "1"]
        with (self.cluster_namespace.folder / "reconciler.log").open("w") as log:
            process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(300)

    def verify(self) -> str:
        """Compare the volume with its manifests and with the rows."""
        done = self.installation.manage("verify_models", TEST_MODELS_DIR=str(self.models))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sql(self, statement: str, *values: Any) -> list[Row]:
        """Run SQL on one shared connection. After an error of the connection, on a new one."""
        with self._one_at_a_time:
            try:
                return self._ask(statement, values)
            except psycopg.OperationalError:
                self.close()
                return self._ask(statement, values)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, statement: str, values: tuple[Any, ...]) -> list[Row]:
        if self._connection is None:
            self._connection = self.server.connect(self.database, row_factory=dict_row)
        cursor = self._connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []

    def rows(self, team: str) -> list[Row]:
        return self.sql(ROWS, team)

    def row(self, team: str, subject: str) -> Row:
        """The newest row of the subject."""
        return [row for row in self.rows(team) if row["subject"] == subject][-1]

    def until(self, team: str, subject: str, seen: Callable[[Row], object], *, seconds: float = 600) -> Row:
        """The first row of the subject for which `seen` is true."""
        deadline = time.monotonic() + seconds
        while not seen(row := self.row(team, subject)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s; last row: {row}")
            time.sleep(0.2)
        return row

    def at_work(self, team: str, subject: str, *, stage: str = "train-") -> Row:
        """The row of the subject, as soon as its training is stopped and its pod counts as running.

        Before the submission, `held.all` must begin. A run claims its row before its node reports the container.
        """
        run_id = self.row(team, subject)["run_id"]
        self.held.hold(run_id, stage=stage)
        row = self.until(team, subject, lambda row: self.held.holds(run_id))
        self.cluster_namespace.cluster.until(
            lambda: any(pod["status"]["phase"] == "Running" for pod in self.pods_of(run_id)), what="its pod to count as running"
        )
        return row

    def age(self, run_id: str, column: str, seconds: int) -> None:
        """Move a time of the run into the past."""
        self.sql(f"UPDATE gregory_runs_trainingrun SET {column} = {column} - %s * interval '1 second' WHERE run_id = %s", seconds, run_id)

    @contextmanager
    def idle(self, run_id: str, seconds: int) -> Iterator[None]:
        """For the block, the row says that the run made no progress for this time, whatever its heartbeats write. Later ones correct it.

        A trigger for this run writes the time, so no heartbeat comes before a process that reads the row.
        """
        name = f"idle_{run_id}"
        idle = f"BEGIN NEW.progress_at = NEW.heartbeat_at - {seconds} * interval '1 second'; RETURN NEW; END"
        self.sql(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${idle}$$")
        try:
            self.sql(
                f"CREATE TRIGGER {name} BEFORE UPDATE ON gregory_runs_trainingrun FOR EACH ROW "
                f"WHEN (NEW.run_id = '{run_id}') EXECUTE FUNCTION {name}()"
            )
            self.sql("UPDATE gregory_runs_trainingrun SET heartbeat_at = heartbeat_at WHERE run_id = %s", run_id)
            yield
        finally:
            self.sql(f"DROP FUNCTION {name}() CASCADE")

    def events(self, run_id: str) -> list[Row]:
        return self.sql("SELECT kind, message FROM gregory_runs_runevent WHERE run_id = %s ORDER BY id", run_id)

    def pods_of(self, run_id: str) -> list[Row]:
        selector = f"gregory-train/run-id={run_id}"
        return list(
            self.cluster_namespace.cluster.get("pods", "--namespace", self.cluster_namespace.namespace, "--selector", selector)["items"]
        )

    def log(self, row: Row) -> str:
        """The log of the newest attempt of an ended run, as soon as its Job has ended. Its row ends before."""
        job = row["job"]
        self.cluster_namespace.cluster.until(lambda: is_finished(self.cluster_namespace.get("job", job)), what="the Job to have ended")
        return self.cluster_namespace.kubectl("logs", f"job/{job}")

    def jobs_of(self, run_id: str) -> list[Row]:
        selector = f"gregory-train/run-id={run_id}"
        return list(
            self.cluster_namespace.cluster.get("jobs", "--namespace", self.cluster_namespace.namespace, "--selector", selector)["items"]
        )


def environment(cluster_namespace: ClusterNamespace, server: postgresql.Server, database: str) -> dict[str, str]:
    """The environment of the commands."""
    return {
        **server.environment(database),
        "KUBECONFIG": str(cluster_namespace.cluster.kubeconfig),
        "GREGORY_CLUSTER_CONFIG": str(cluster_namespace.folder / "cluster.yaml"),
        "GREGORY_RUNNER": "kubernetes",
    }


@contextmanager
def producing(cluster_namespace: ClusterNamespace, server: postgresql.Server, image: str) -> Iterator[Production]:
    """An installation for the block. Afterwards every daemon of the cluster runs again."""
    database = f"runs_{uuid4().hex[:12]}"
    installation = Installation(cluster_namespace.folder / "installation", environment=environment(cluster_namespace, server, database))
    with (
        holding() as held,
        closing(
            Production(installation=installation, cluster_namespace=cluster_namespace, server=server, database=database, held=held)
        ) as production,
    ):
        production.prepare(image)
        yield production
        cluster_namespace.clear()
