"""A release of the chart on the cluster, in a namespace that enforces `restricted`, with its own database and volume."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from uuid import uuid4

from gregory.launch.kubernetes.pod_patch import merged
from tests.kubernetes.pod_processes import holding
from tests.kubernetes.production import USER, Production, environment
from tools import postgresql
from tools.chart import helm, plain
from tools.chart.helm import CHART, RELEASE
from tools.cluster import run_image
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace
from tools.installation import Installation
from tools.ports import free_port

TRAINED = ["--all-articles", "--algo", "lgbm_tfidf"]
SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}


def image(name: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


def schedules(*, ticking: bool) -> list[dict[str, Any]]:
    """One schedule for manual starts, and one for every minute, which can be suspended."""
    return [
        {"name": "weekly", "schedule": "0 3 * * 0", "args": ["--team", "plain", *TRAINED]},
        {"name": "ticking", "schedule": "* * * * *", "args": ["--team", "held", *TRAINED], "suspend": not ticking},
    ]


def values(namespace: str, *, port: int) -> dict[str, Any]:
    """Values of an operator. port: of the pages in browsers. All others are the defaults of the chart."""
    return {
        "job": {
            "image": image(run_image.NAME),
            # The GPUs of the node are imaginary.
            "gpu": {"required": False},
            "resources": SMALL,
            "sharedMemory": {"size": "16Mi"},
            "gracePeriodSeconds": 5,
        },
        "cronJobs": schedules(ticking=False),
        "controller": {"image": image(run_image.SUBMIT), "resources": SMALL},
        "reconciler": {"intervalSeconds": 2, "metrics": {"enabled": True}},
        "migration": {"enabled": True},
        "models": {"storageClassName": namespace, "size": "1Gi"},
        "preflight": {"resources": SMALL},
        "pages": {
            "enabled": True,
            "metrics": {"enabled": True},
            "url": f"https://localhost:{port}",
            # The owner of the tables. tests/live has the role of the pages.
            "database": {"user": postgresql.USER, "passwordKey": "POSTGRES_PASSWORD"},
        },
    }


@dataclass(kw_only=True)
class Release:
    """`production` has the rows and the cluster. `output` is the output of `helm install`."""

    production: Production
    output: str = ""
    port: int = field(default_factory=free_port)

    @property
    def cluster(self) -> Cluster:
        return self.production.cluster_namespace.cluster

    @property
    def namespace(self) -> str:
        return self.production.cluster_namespace.namespace

    def prepare(self) -> None:
        """Create everything that the chart needs: namespace, volume, database, and a Secret with its address."""
        cluster_namespace, server = self.production.cluster_namespace, self.production.server
        self.cluster.apply(plain.namespace() | {"metadata": plain.namespace()["metadata"] | {"name": self.namespace}})
        self.production.models.mkdir()
        os.chown(self.production.models, USER, USER)
        volume = {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": self.namespace,
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": str(self.production.models)},
        }
        self.cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": self.namespace}, "spec": volume})
        server.create(self.production.database)
        variables = server.environment(self.production.database) | {"DB_HOST": self.cluster.host, "SECRET_KEY": token_urlsafe(50)}
        file = cluster_namespace.folder / "gregory.env"
        file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        cluster_namespace.kubectl("create", "secret", "generic", "gregory-database", f"--from-env-file={file}")

    def install(self) -> None:
        self.output = self.must("install", RELEASE, str(CHART), "--wait", "--values", str(self.file()))

    def upgrade(self, changes: Mapping[str, Any]) -> None:
        self.must("upgrade", RELEASE, str(CHART), "--wait", "--values", str(self.file(changes)))

    def test(self) -> str:
        """The output of `helm test`, with the logs of its pod.

        Without --logs, Helm 4 prints the log as one line. With it, Helm 3 requests a log of the ClusterRole of the test and fails.
        """
        return self.must("test", RELEASE, *([] if helm.is_3() else ["--logs"]))

    def file(self, changes: Mapping[str, Any] | None = None) -> Path:
        file = self.production.cluster_namespace.folder / f"values-{uuid4().hex[:8]}.yaml"
        file.write_text(json.dumps(merged(values(self.namespace, port=self.port), dict(changes or {}))))
        return file

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return helm.helm(*arguments, "--namespace", self.namespace, "--timeout", "600s", KUBECONFIG=str(self.cluster.kubeconfig))

    def must(self, *arguments: str) -> str:
        """Standard output and standard error. Warnings of the API server are on standard error."""
        done = self.helm(*arguments)
        assert done.returncode == 0, self.why(done)
        return done.stdout + done.stderr

    def why(self, done: subprocess.CompletedProcess[str]) -> str:
        """The output, and the pods, events and logs of the namespace."""
        where = ("--namespace", self.namespace)
        objects = [self.cluster.kubectl("get", kind, *where).stdout for kind in ("pods", "events")]
        logs = self.cluster.kubectl("logs", "--selector", "app.kubernetes.io/name=gregory-train", "--tail=20", "--prefix", *where).stdout
        return "\n".join([done.stdout, done.stderr, *objects, logs])

    def kubectl(self, *arguments: str) -> str:
        return self.production.cluster_namespace.kubectl(*arguments)

    def trigger(self, name: str, *, schedule: str) -> None:
        """Start a schedule now, as NOTES.txt describes it."""
        self.kubectl("create", "job", name, f"--from=cronjob/{RELEASE}-{schedule}")

    def only_the_deployments_are_left(self) -> None:
        """Wait until the pods of all hooks are gone."""
        pods = self.production.cluster_namespace.pods
        left = ["pages", "reconciler"]
        self.cluster.until(lambda: sorted(pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods()) == left,
                           what="pods of hooks to be gone")  # fmt: skip

    def ended(self, name: str) -> dict[str, Any]:
        """The first finished Job with this prefix. A schedule can take a minute to start it."""
        return self.cluster.until(lambda: self._ended(name), what=f"a Job {name} to end")

    def _ended(self, name: str) -> dict[str, Any] | None:
        jobs = [job for job in self.production.cluster_namespace.jobs() if job["metadata"]["name"].startswith(name)]
        return next((job for job in jobs if job["status"].get("succeeded") or job["status"].get("failed")), None)


@contextmanager
def releasing(cluster_namespace: ClusterNamespace, server: postgresql.Server) -> Iterator[Release]:
    """An installed release for the block. Afterwards every daemon of the cluster runs again."""
    database = f"chart_{uuid4().hex[:12]}"
    installation = Installation(cluster_namespace.folder / "installation", environment=environment(cluster_namespace, server, database))
    with (
        holding() as held,
        closing(
            Production(installation=installation, cluster_namespace=cluster_namespace, server=server, database=database, held=held)
        ) as production,
    ):
        release = Release(production=production)
        release.prepare()
        release.install()
        file = release.kubectl("get", "configmap", f"{RELEASE}-cluster", "--output", r"jsonpath={.data.cluster\.yaml}")
        (cluster_namespace.folder / "cluster.yaml").write_text(file)
        yield release
        cluster_namespace.clear()
