"""What a taken-over training pod reaches: code in a real pod, with the user, the mounts and the network of its run."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gregory.runs.spec import new_run_id
from tests.kubernetes.production import USER, Production, producing
from tools import postgresql
from tools.cluster import run_image
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace

TEAM, OURS, THEIRS = "tenancy", "ours", "theirs"
# It prints each attempt as a name and its result. A stage runs with the same user.
CODE = """
import json, os, ssl, sys, urllib.error, urllib.request
from pathlib import Path

def tried(call):
    try:
        return str(call())
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except OSError as error:
        return type(error).__name__

def variables(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()

def named(words):
    return next(pid for pid in os.listdir("/proc") if pid.isdigit() and words in Path(f"/proc/{pid}/cmdline").read_bytes())

def asked(path):
    unchecked = ssl._create_unverified_context()
    return urllib.request.urlopen(server + path, context=unchecked, timeout=120).status

server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
namespace, theirs = sys.argv[1:]
models = Path("models")
link = models / "tenancy/ours/link"
link.symlink_to(f"../{theirs}")
print(json.dumps({
    "seen": sorted(str(path) for path in models.glob("*/*")) + sorted(str(path) for path in models.glob(".*")),
    "their folder": tried(lambda: os.listdir(models / "tenancy" / theirs)),
    "their folder by a link": tried(lambda: os.listdir(link)),
    "a file for them": tried(lambda: (models / "tenancy" / theirs).mkdir()),
    "a file beside them": tried(lambda: (models / "file").touch()),
    "a file of ours": tried(lambda: (models / "tenancy/ours/file").touch()),
    "base models": tried(lambda: Path("/opt/base-models/file").touch()),
    "token": tried(lambda: os.listdir("/var/run/secrets/kubernetes.io/serviceaccount")),
    "operator's Secret": tried(lambda: asked(f"/api/v1/namespaces/{namespace}/secrets/operator")),
    "other pods": tried(lambda: asked(f"/api/v1/namespaces/{namespace}/pods")),
    "variables of process 1": tried(lambda: len(variables(1))),
    "variables of the run": tried(lambda: len(variables(named(b"-m\\0job\\0")))),
    "password in the variables of its stage": b"POSTGRES_PASSWORD" in variables(named(b"-m\\0gregory.ml.stages\\0")),
}))
link.unlink()
(models / "tenancy/ours/file").unlink()
"""


@pytest.fixture(scope="module")
def two_subjects(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """Two runs of one team at once. The training of one is stopped."""
    namespace = ClusterNamespace(cluster=cluster, namespace=f"tenancy-{new_run_id()}", folder=tmp_path_factory.mktemp("tenancy"))
    with producing(namespace, cluster_postgresql, run_image.NAME) as production:
        here = {"name": "operator", "namespace": namespace.namespace}
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": here, "stringData": {"POSTGRES_PASSWORD": "of the operator"}})
        production.subjects(TEAM, OURS, THEIRS)
        production.train(TEAM, "--subject", THEIRS, "--wait")
        with production.held.all():
            production.train(TEAM, "--subject", OURS)
            production.at_work(TEAM, OURS)
        yield production


def in_the_pod(production: Production, run_id: str) -> dict[str, Any]:
    """The results of CODE in the container of the run."""
    (pod,) = production.pods_of(run_id)
    cluster, namespace = production.cluster_namespace.cluster, production.cluster_namespace.namespace
    program = ("exec", pod["metadata"]["name"], "--namespace", namespace, "--container", "run", "--", "python3", "-c", CODE)
    return dict(json.loads(cluster.must(*program, namespace, THEIRS)))


def test_a_pod_reaches_nothing_of_another_subject_and_publishes_its_model(two_subjects: Production):
    row = two_subjects.row(TEAM, OURS)

    found = in_the_pod(two_subjects, row["run_id"])

    refused = found.pop("operator's Secret"), found.pop("other pods")
    assert set(refused) <= {"HTTP 401", "HTTP 403"}
    assert found == {
        "seen": ["models/tenancy/ours"],
        "their folder": "FileNotFoundError",
        "their folder by a link": "FileNotFoundError",
        "a file for them": "OSError",
        "a file beside them": "OSError",
        "a file of ours": "None",
        "base models": "OSError",
        "token": "FileNotFoundError",
        "variables of process 1": "PermissionError",
        "variables of the run": "PermissionError",
        "password in the variables of its stage": False,
    }
    two_subjects.held.let_go(row["run_id"])
    done = two_subjects.until(TEAM, OURS, lambda row: row["state"] == "succeeded")
    assert two_subjects.verify().strip() == "2 version folders, all complete and unchanged"
    folder = two_subjects.models / TEAM / OURS
    assert {path.stat().st_uid for path in (folder, folder / ".runs", two_subjects.models / done["artifact"])} == {USER}
