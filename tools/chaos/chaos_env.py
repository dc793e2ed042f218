"""The installation: a database, a namespace, the commands of an operator, and the tables in plain SQL.

This module reads the tables without code of the product.
"""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.rows import class_row

from tools import postgresql
from tools.chaos import accounts, queues
from tools.chaos.records import Event, Row, Run
from tools.chaos.script import Script
from tools.chaos.scripted_work import MARKS, PATCH, SECONDS
from tools.cluster.cluster import NODE, Cluster
from tools.cluster.namespace import ClusterNamespace
from tools.installation import Installation, create_migrated

T = TypeVar("T")
DATABASE = "chaos"
SUBJECTS = """
import json
from django.db import transaction
from organizations.models import Organization
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team
texts = {{f"https://example.org/{{n}}": {{"title": f"article {{n}}", "summary": "text"}} for n in range(40)}}
articles = [Articles.objects.get_or_create(link=link, defaults=text)[0] for link, text in texts.items()]
transaction.set_autocommit(False)
for team, subjects in json.loads({teams!r}).items():
    made = Team.objects.create(slug=team, organization=Organization.objects.create(name=team, slug=team))
    for slug in subjects:
        subject = Subject.objects.create(subject_name=slug, subject_slug=slug, team=made)
        ArticleSubjectRelevance.objects.bulk_create(
            ArticleSubjectRelevance(article=article, subject=subject, is_relevant=number % 2 == 0)
            for number, article in enumerate(articles)
        )
transaction.commit()
"""
RUNS = """
select run.run_id, team.slug || '/' || subject.subject_slug as label, run.state, run.reason, run.detail, run.attempt, run.external_name,
  run.exit_code, run.queued_at, run.submitted_at, run.started_at, run.finished_at
from gregory_runs_trainingrun run join subjects subject on subject.id = run.subject_id join gregory_team team on team.id = subject.team_id
"""
ROWS = """
select mine.run_id, log.id, log.algorithm, log.model_version as version, log.success, mine.reason, log.error_message as error,
  log.run_started as started, log.run_finished as finished, mine.metrics, mine.artifact_path as path, mine.artifact_digest as digest
from gregory_predictionrunlog log join gregory_runs_algorithmrun mine on mine.run_log_id = log.id
"""
EVENTS = "select run_id, at, kind, message from gregory_runs_runevent order by id"
# The database takes no part in a disturbance of itself.
WRITES = "-c default_transaction_read_only=off"


@dataclass(kw_only=True)
class ChaosEnv:
    """`installation` is the operator's machine, which does not see the models volume. `models` is that volume.

    inside: the environment of a process in the network of the pods. kueue: whether Kueue admits the runs.
    """

    cluster: Cluster
    server: postgresql.Server
    folder: Path
    scripts: list[Script]
    kueue: bool = False
    installation: Installation = field(init=False)
    inside: dict[str, str] = field(init=False)
    cluster_namespace: ClusterNamespace = field(init=False)

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def marks(self) -> Path:
        return self.models / MARKS

    def prepare(self, image: str, *, concurrent: int) -> None:
        """Create database, namespace, volume and subjects.

        concurrent: the number of runs that the node accepts at once.
        """
        for folder in (self.models, self.marks):
            folder.mkdir(parents=True)
            # Pods write there as another user.
            folder.chmod(0o777)
        create_migrated(self.server, DATABASE)
        self.cluster_namespace = ClusterNamespace(cluster=self.cluster, namespace="chaos", folder=self.folder)
        self.cluster_namespace.prepare(image)
        secret = {"name": "database", "namespace": self.cluster_namespace.namespace}
        password = {"POSTGRES_PASSWORD": postgresql.PASSWORD}
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": password})
        database = {"existingSecret": "database", "host": self.cluster.host, "port": self.server.port}
        # Runs wait for the processors of the node as they wait for GPUs elsewhere.
        milli = 1000 * int(self.cluster.get("node", NODE)["status"]["allocatable"]["cpu"]) // concurrent
        self.cluster_namespace.config |= {
            "database": {**database, "name": DATABASE, "user": postgresql.USER},
            "podTemplatePatch": PATCH,
            "resources": {"requests": {"cpu": f"{milli}m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        }
        # A pod that its node lost waits for this time.
        self.cluster_namespace.config["deadlines"] = {"imagePullSeconds": 300}
        # Chaos tests the defaults of the others.
        del self.cluster_namespace.config["gracePeriodSeconds"], self.cluster_namespace.config["submission"]
        outside, inside = accounts.create(self.cluster, self.cluster_namespace.namespace, self.folder)
        if self.kueue:
            self._create_queue(milli=milli * max(1, concurrent // 2))
        self.cluster_namespace.installation()
        variables = {
            **self.server.environment(DATABASE),
            "KUBECONFIG": str(outside),
            "GREGORY_CLUSTER_CONFIG": str(self.folder / "cluster.yaml"),
        }
        self.installation = Installation(self.folder / "operator", environment=variables)
        self.inside = {**self.installation.environment, "KUBECONFIG": str(inside), "DB_HOST": self.cluster.host}
        self._add(self.scripts)

    def _create_queue(self, *, milli: int) -> None:
        """Half of the node: with all of it, the pod of Kueue's manager would find no place. The reconcilers retry a run as ordinary."""
        queues.create(self.cluster, self.cluster_namespace.namespace, milli=milli)
        config = self.cluster_namespace.config
        config["kueue"] = queues.section(queues.ORDINARY)
        self.urgent_file.write_text(json.dumps({**config, "kueue": queues.section(queues.URGENT)}))
        # The older release does not know the other keys.
        self.older_file.write_text(json.dumps({**config, "kueue": {"queueName": queues.QUEUE}}))

    @property
    def urgent_file(self) -> Path:
        """The cluster file of a submitter of urgent runs."""
        return self.folder / "urgent.yaml"

    @property
    def older_file(self) -> Path:
        """The cluster file of the older release, if there is Kueue."""
        return self.folder / "older.yaml"

    def add(self, scripts: list[Script]) -> None:
        """More runs: their subjects, and the lengths of their trainings."""
        self.scripts.extend(scripts)
        self._add(scripts)

    def _add(self, scripts: list[Script]) -> None:
        seconds = {f"{script.subject}/{name}": value for script in self.scripts for name, value in script.seconds.items()}
        unfinished = self.marks / f"{SECONDS}.partial"
        unfinished.write_text(json.dumps(seconds))
        unfinished.rename(self.marks / SECONDS)
        teams: dict[str, list[str]] = {}
        for script in scripts:
            teams.setdefault(script.team, []).append(script.subject)
        code = SUBJECTS.format(teams=json.dumps(teams))
        # The database may be away.
        self.cluster.until(
            lambda: self.installation.manage("shell", "--no-imports", "-c", code).returncode == 0, what="the subjects", seconds=600
        )

    def clear(self) -> None:
        """Delete the namespace and the account, and start every stopped daemon."""
        self.cluster_namespace.clear()
        accounts.remove(self.cluster)

    def runs(self) -> list[Run]:
        """Raises psycopg.Error if the database does not answer."""
        return self._all(RUNS, Run)

    def rows(self) -> list[Row]:
        return self._all(ROWS, Row)

    def events(self) -> list[Event]:
        return self._all(EVENTS, Event)

    def note(self, text: str) -> None:
        """One line of the time line, in UTC."""
        with (self.folder / "timeline.log").open("a") as file:
            file.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}\n")

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection as superuser, which writes also while the database is read-only."""
        return self.server.connect(DATABASE, connect_timeout=5, options=WRITES, **options)

    def _all(self, query: LiteralString, kind: type[T]) -> list[T]:
        with self.connect(row_factory=class_row(kind)) as connection:
            return list(connection.execute(query).fetchall())
