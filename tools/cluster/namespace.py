"""A namespace with all objects that a Job of ours names. Any Python code can replace the run."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gregory.launch.kubernetes.runner import KubernetesRunner
from gregory.launch.runner import Installation, Observation, Rendered
from gregory.ml.config import TrainConfig
from gregory.runs.spec import RunHandle, RunSpec, Scope, TrainSpec, Window, new_run_id, new_token
from tools.cluster.cluster import Cluster
from tools.launch_installation import installation

# The first process of a container ignores SIGTERM unless it has a handler.
LINGERS = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep({}), sys.exit(143)));"
    "print('ready', flush=True); time.sleep(600)"
)
SLEEPS = LINGERS.format(0)


def a_run(**changes: Any) -> RunSpec:
    """A specification with an id and a token of its own."""
    scope = Scope(id=1, slug="any")
    window = Window(cutoff=None, description="all articles")
    return TrainSpec(
        run_id=new_run_id(), attempt_token=new_token(), team=scope, subject=scope, algorithms=(), config=TrainConfig(), window=window
    ).model_copy(update=changes)


def with_code(job: Mapping[str, Any], code: str) -> dict[str, Any]:
    """A rendered Job whose container runs this code instead of `python -m job`."""
    changed = deepcopy(dict(job))
    pod_of(changed)["containers"][0]["command"] = ["python3", "-c", code]
    # The images of such runs have no module `job`.
    pod_of(changed).pop("initContainers", None)
    return changed


def pod_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """The pod specification of a Job, for changes."""
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def _object(kind: str, metadata: Mapping[str, str], **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


@dataclass(kw_only=True)
class ClusterNamespace:
    """`config` is the cluster file. A change of it counts from the next `runner` on."""

    cluster: Cluster
    namespace: str
    folder: Path
    config: dict[str, Any] = field(default_factory=dict)

    def prepare(self, image: str) -> None:
        """Create the namespace, service account, secret, bound volume, and the content of the cluster file."""
        repository, _, tag = image.rpartition(":")
        self.config = {
            "namespace": self.namespace,
            "image": {"repository": repository, "tag": tag},
            "gpu": {"count": 0},
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
            "sharedMemory": {"size": "16Mi"},
            "volumes": {"models": {"claimName": "models"}},
            "database": {"existingSecret": "database", "host": "nowhere.invalid", "name": "gregory", "user": "trainer"},
            "gracePeriodSeconds": 5,
            "submission": {"perSecond": 100},
        }
        here = {"namespace": self.namespace}
        size, volume = {"storage": "1Gi"}, {"accessModes": ["ReadWriteMany"], "storageClassName": self.namespace}
        # The volume names its claim, so Kubernetes binds them in any order.
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "models", **here}
        folder = {"path": f"{self.folder}/models", "type": "DirectoryOrCreate"}
        self.cluster.apply(
            _object("Namespace", {"name": self.namespace}),
            _object("ServiceAccount", {"name": "gregory-trainer", **here}),
            _object("Secret", {"name": "database", **here}, stringData={"POSTGRES_PASSWORD": "hunter2"}),
            _object("PersistentVolume", {"name": self.namespace}, spec={**volume, "capacity": size, "hostPath": folder, "claimRef": claim}),
            _object("PersistentVolumeClaim", {"name": "models", **here}, spec={**volume, "resources": {"requests": size}}),
        )
        self.cluster.until(lambda: self.get("pvc", "models")["status"]["phase"] == "Bound", what="the claim to be bound")

    def clear(self) -> None:
        """Start every stopped daemon and delete the namespace."""
        self.cluster.heal()
        objects = (f"namespace/{self.namespace}", f"persistentvolume/{self.namespace}")
        self.cluster.must("delete", *objects, "--wait=false", "--ignore-not-found")

    def installation(self, **variables: str) -> Installation:
        """An installation with these variables."""
        file = self.folder / "cluster.yaml"
        file.write_text(json.dumps(self.config))
        given = {"KUBECONFIG": str(self.cluster.kubeconfig), "GREGORY_CLUSTER_CONFIG": str(file), "POSTGRES_DB": "gregory"}
        return installation(self.folder, variables={**given, **variables})

    def runner(self, **variables: str) -> KubernetesRunner:
        return KubernetesRunner(self.installation(**variables))

    def kubeconfig_of(self, account: str) -> Path:
        """A kubeconfig with a token of this ServiceAccount."""
        content = json.loads(self.cluster.kubeconfig.read_text())
        content["users"][0]["user"] = {"token": self.kubectl("create", "token", account).strip()}
        file = self.folder / f"{account}.kubeconfig"
        file.write_text(json.dumps(content))
        return file

    def start(self, code: str, *, spec: RunSpec | None = None, change: Callable[[dict[str, Any]], None] | None = None) -> RunHandle:
        """Submit a run with this code. change: a last change of the Job."""
        runner, spec = self.runner(), spec or a_run()
        job = with_code(runner.render(spec).request, code)
        if change is not None:
            change(job)
        return runner.submit(Rendered(spec=spec, request=job))

    def see(self, handle: RunHandle) -> Observation:
        (observation,) = self.runner().observe([handle])
        return observation

    def until(self, handle: RunHandle, seen: Callable[[Observation], object], *, seconds: float = 300) -> Observation:
        """The first observation for which `seen` is true, by one runner, as a reconciler does it."""
        runner, deadline = self.runner(), time.monotonic() + seconds
        while time.monotonic() < deadline:
            (observation,) = runner.observe([handle])
            if seen(observation):
                return observation
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds:g} s in vain, and last saw {observation}")

    def pods(self) -> list[dict[str, Any]]:
        return list(self.cluster.get("pods", "--namespace", self.namespace)["items"])

    def jobs(self) -> list[dict[str, Any]]:
        return list(self.cluster.get("jobs", "--namespace", self.namespace)["items"])

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.get(kind, name, "--namespace", self.namespace)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.cluster.must(*arguments, "--namespace", self.namespace, **options)


@contextmanager
def prepared_namespace(cluster: Cluster, image: str, folder: Path) -> Iterator[ClusterNamespace]:
    """A namespace for the block."""
    cluster_namespace = ClusterNamespace(cluster=cluster, namespace=f"runs-{new_run_id()}", folder=folder)
    cluster_namespace.prepare(image)
    yield cluster_namespace
    cluster_namespace.clear()
