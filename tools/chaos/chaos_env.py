"""The installation: a database, a namespace, the commands of an operator, and the tables in plain SQL.

This module reads the tables without code of the product.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.rows import class_row

from tools import postgresql
from tools.chaos.script import Script
from tools.chaos.scripted_work import MARKS, SECONDS
from tools.cluster.cluster import NODE, Cluster
from tools.cluster.namespace import ClusterNamespace
from tools.installation import Installation

DATABASE = "chaos"
SUBJECTS = """
import json, sys
from organizations.models import Organization
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team
articles = [Articles.objects.create(title=f"article {{n}}", link=f"https://example.org/{{n}}", summary="text") for n in range(40)]
for team, subjects in json.loads({teams!r}).items():
    made = Team.objects.create(slug=team, organization=Organization.objects.create(name=team, slug=team))
    for slug in subjects:
        subject = Subject.objects.create(subject_name=slug, subject_slug=slug, team=made)
        ArticleSubjectRelevance.objects.bulk_create(
            ArticleSubjectRelevance(article=article, subject=subject, is_relevant=number % 2 == 0)
            for number, article in enumerate(articles)
        )
"""
RUNS = """
select run.run_id, team.slug || '/' || subject.subject_slug as label, run.state, run.reason, run.detail, run.attempt, run.external_name
from gregory_runs_trainingrun run join subjects subject on subject.id = run.subject_id join gregory_team team on team.id = subject.team_id
"""
ROWS = """
select mine.run_id, log.id, log.algorithm, log.model_version as version, log.success, mine.reason
from gregory_predictionrunlog log join gregory_runs_algorithmrun mine on mine.run_log_id = log.id
"""
FINAL = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The row of a run. label: team/subject."""

    run_id: str
    label: str
    state: str
    reason: str
    detail: str
    attempt: int
    external_name: str

    @property
    def is_final(self) -> bool:
        return self.state in FINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The row of an algorithm, from the tables of GregoryAI and of this project."""

    run_id: str
    id: int
    algorithm: str
    version: str
    success: bool | None
    reason: str


@dataclass(kw_only=True)
class ChaosEnv:
    """`installation` is the operator's machine, which does not see the models volume. `models` is that volume."""

    cluster: Cluster
    server: postgresql.Server
    folder: Path
    scripts: list[Script]
    installation: Installation = field(init=False)
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
        seconds = {f"{script.subject}/{name}": value for script in self.scripts for name, value in script.seconds.items()}
        (self.marks / SECONDS).write_text(json.dumps(seconds))
        self.server.create(DATABASE)
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
            "resources": {"requests": {"cpu": f"{milli}m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        }
        # Chaos tests the defaults.
        del self.cluster_namespace.config["gracePeriodSeconds"], self.cluster_namespace.config["submission"]
        self.cluster_namespace.installation()
        variables = {
            **self.server.environment(DATABASE),
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "GREGORY_CLUSTER_CONFIG": str(self.folder / "cluster.yaml"),
        }
        self.installation = Installation(self.folder / "operator", environment=variables)
        self.installation.must("migrate", "-v0")
        teams: dict[str, list[str]] = {}
        for script in self.scripts:
            teams.setdefault(script.team, []).append(script.subject)
        self.installation.run_code(SUBJECTS.format(teams=json.dumps(teams)))

    def clear(self) -> None:
        """Delete the namespace and start every stopped daemon."""
        self.cluster_namespace.clear()

    def runs(self) -> list[Run]:
        """Raises psycopg.OperationalError if the database does not answer."""
        with self.server.connect(DATABASE, row_factory=class_row(Run), connect_timeout=5) as connection:
            return connection.execute(RUNS).fetchall()

    def rows(self) -> list[Row]:
        with self.server.connect(DATABASE, row_factory=class_row(Row), connect_timeout=5) as connection:
            return connection.execute(ROWS).fetchall()
