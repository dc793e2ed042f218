"""Kueue in the cluster: its manager as a pod, with the manifests of its Go module, webhooks included."""

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tools.cluster import binaries, images, pki
from tools.cluster.cluster import Cluster
from tools.docker_engine import CACHE
from tools.go_programs import build_once, go

VERSION = "v0.17.0"
MODULE = "sigs.k8s.io/kueue"
NAMESPACE, MANAGER = "kueue-system", "kueue-controller-manager"
_CONFIG = "kueue-manager-config"
IMAGE = "gregory.test/kueue:1"
_MANIFESTS = "manifests.json"
_SERVICE, _SECRET = f"kueue-webhook-service.{NAMESPACE}.svc", "kueue-webhook-server-cert"
# The manager would write its own certificates to a Secret, and a pod sees a change of a Secret only after a minute.
_SETTINGS = "\ninternalCertManagement:\n  enable: false\nfeatureGates:\n  VisibilityOnDemand: false\n"
_METRICS = "/etc/kueue/metrics/certs"
_WEBHOOKS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"


def usable() -> bool:
    """Whether the program exists or can be built."""
    return _folder().exists() or shutil.which("go") is not None


def build() -> Path:
    """Build the manager and render its manifests if they are not there. Returns their folder."""
    return build_once(_folder(), f"Kueue {VERSION}", _build)


@contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """Kueue manages the Jobs of queues in the block. The block ends its own runs."""
    manifests = _apply(cluster)
    try:
        _wait(cluster)
        yield
    finally:
        # The manager must still run: it removes its finalizers from these objects.
        cluster.must("delete", "localqueues", "--all", "--all-namespaces", "--timeout=60s")
        cluster.must("delete", "clusterqueues,resourceflavors,workloadpriorityclasses", "--all", "--timeout=60s")
        cluster.must("delete", _WEBHOOKS, "--selector", "app.kubernetes.io/name=kueue")
        cluster.must("delete", "--wait=false", "--ignore-not-found", "--filename", "-", input=manifests)


def install(cluster: Cluster) -> None:
    """Kueue manages the Jobs of queues until the end of the cluster."""
    _apply(cluster)
    _wait(cluster)


def _apply(cluster: Cluster) -> str:
    """Import the image and create the objects. Returns their manifests."""
    built = build()
    archive = cluster.folder / "kueue.tar"
    images.of_program(archive, name=IMAGE, program=built / "kueue")
    cluster.import_image(archive)
    archive.unlink()
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects(built, cluster.folder / "pki")})
    # One resource is too large for the annotation of a client-side apply.
    cluster.must("apply", "--server-side", "--filename", "-", input=manifests)
    return manifests


def stop(cluster: Cluster) -> None:
    """End the manager. Its webhooks then do not answer."""
    _scale(cluster, 0)
    pods = ("pods", "--namespace", NAMESPACE)
    cluster.until(lambda: not cluster.get(*pods)["items"], what="the manager of Kueue to have ended")


def start(cluster: Cluster, *, settings: str) -> None:
    """Start the manager again, with these further settings."""
    config = cluster.get("configmap", _CONFIG, "--namespace", NAMESPACE)
    config["data"] = {name: text + settings for name, text in config["data"].items()}
    cluster.must("replace", "--filename", "-", input=json.dumps(config))
    _scale(cluster, 1)
    _wait(cluster)


def _scale(cluster: Cluster, replicas: int) -> None:
    cluster.must("scale", f"deployment/{MANAGER}", "--namespace", NAMESPACE, f"--replicas={replicas}")


def _wait(cluster: Cluster) -> None:
    cluster.must("rollout", "status", f"deployment/{MANAGER}", "--namespace", NAMESPACE, "--timeout=240s", timeout=250)


def _folder() -> Path:
    return CACHE / "kueue" / VERSION


def _build(folder: Path) -> None:
    go("install", "-trimpath", "-ldflags", "-s -w", f"{MODULE}/cmd/kueue@{VERSION}", folder=folder, GOBIN=str(folder))
    (folder / _MANIFESTS).write_text(json.dumps(_rendered()))


def _rendered() -> list[dict[str, Any]]:
    """The objects of Kueue's own default installation."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], cwd=folder, capture_output=True, text=True, check=True
        )
    kubectl = binaries.build() / "kubectl"
    source = f"{json.loads(done.stdout)['Dir']}/config/default"
    rendered = subprocess.run([kubectl, "kustomize", source], capture_output=True, text=True, check=True)
    return [one for one in yaml.safe_load_all(rendered.stdout) if one["kind"] != "APIService"]


def _objects(built: Path, keys: Path) -> list[dict[str, Any]]:
    """The objects with the image and the certificates of this cluster."""
    pki.certificate(keys, "kueue", "/CN=kueue", "extendedKeyUsage=serverAuth", f"subjectAltName=DNS:{_SERVICE}", issuer="ca")
    authority, certificate, key = (_encoded(keys / name) for name in ("ca.crt", "kueue.crt", "kueue.key"))
    objects: list[dict[str, Any]] = json.loads((built / _MANIFESTS).read_text())
    for one in objects:
        match one["kind"]:
            case "ConfigMap":
                one["data"] = {name: text + _SETTINGS for name, text in one["data"].items()}
            case "Secret":
                one["data"] = {"ca.crt": authority, "tls.crt": certificate, "tls.key": key}
            case "Deployment":
                _run_here(one["spec"]["template"]["spec"])
            case "CustomResourceDefinition" if "conversion" in one["spec"]:
                one["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = authority
            case "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration":
                for webhook in one["webhooks"]:
                    webhook["clientConfig"]["caBundle"] = authority
    return objects


def _run_here(pod: dict[str, Any]) -> None:
    """Start the manager from our image, with the certificate also for its metrics."""
    (container,) = pod["containers"]
    container |= {"image": IMAGE, "imagePullPolicy": "Never", "command": ["/kueue"]}
    container["securityContext"]["runAsUser"] = 65532
    container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1}
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "cert")
    container["volumeMounts"].append(mount | {"mountPath": _METRICS})


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
