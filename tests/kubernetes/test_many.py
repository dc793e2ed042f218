"""C18: three hundred subjects at once on an imaginary node. The API server limits the rate, and the test counts the calls."""

import json
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes import proxy as proxies
from tools import postgresql
from tools.cluster import hollow
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import prepared_namespace
from tools.installation import Installation, create_migrated

pytestmark = pytest.mark.slow

SUBJECTS, REFUSED_EVERY = 300, 20
DATABASE = "many"
# No node pulls this image.
IMAGE = "gregory.test/nothing:1"
RESOURCE = re.compile(r"/namespaces/[^/?]+(?:/(\w+))?(?:/([^/?]+))?")
OPEN = """
from organizations.models import Organization
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team
team = Team.objects.create(slug="team", organization=Organization.objects.create(name="o", slug="o"))
Subject.objects.bulk_create(Subject(subject_name=f"s{n}", subject_slug=f"s{n}", team=team) for n in range(%d))
articles = Articles.objects.bulk_create(Articles(title=f"article {n}", link=f"https://example.org/{n}") for n in range(12))
ArticleSubjectRelevance.objects.bulk_create(
    ArticleSubjectRelevance(article=article, subject=subject, is_relevant=number < 6)
    for subject in Subject.objects.all()
    for number, article in enumerate(articles)
)
"""


class Calls:
    """Counts the calls since the last `taken`. It refuses one of REFUSED_EVERY creations with 429."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._creations = 0
        self._lock = threading.Lock()

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str]] | None:
        found = RESOURCE.search(path)
        resource, name = (found[1] or "namespaces", found[2] or (None if found[1] else "one")) if found else (path, None)
        with self._lock:
            self._seen[f"{method} {resource}{'/NAME' if name else ''}"] += 1
            if method == "POST" and "dryRun" not in path:
                self._creations += 1
                if self._creations % REFUSED_EVERY == 0:
                    return 429, {"Retry-After": "1"}
        return None

    def taken(self) -> Counter[str]:
        with self._lock:
            seen, self._seen = self._seen, Counter()
        return seen


def test_three_hundred_subjects_at_once(cluster: Cluster, cluster_postgresql: postgresql.Server, tmp_path: Path):
    calls = Calls()
    with (
        hollow.node(cluster),
        prepared_namespace(cluster, IMAGE, tmp_path) as cluster_namespace,
        proxies.running(cluster.kubeconfig.parent) as proxy,
    ):
        proxy.answer = calls.answer
        cluster_namespace.config |= hollow.PLACEMENT
        del cluster_namespace.config["submission"]
        cluster_namespace.installation()
        installation = _installation(tmp_path, cluster_postgresql, kubeconfig=_through(proxy.url, tmp_path))

        done = installation.manage("train_models", "--all-teams", "--runner", "kubernetes", "--algo", "lgbm_tfidf", "--verbose", "0")

        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        submitting = calls.taken()
        # One dry run before any row, one creation for each subject, and one repetition for each refusal.
        assert submitting["POST jobs"] == 1 + SUBJECTS + (SUBJECTS - 1) // (REFUSED_EVERY - 1)
        assert sum(submitting.values()) - submitting["POST jobs"] <= 10, submitting
        assert len(cluster_namespace.jobs()) == SUBJECTS
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and _ends(cluster_postgresql).get(None):
            time.sleep(1)
            installation.must("reconcile_runs", "--once")
            observing = calls.taken()
            # Two lists of Jobs, for observation and for garbage, for any number of runs.
            at_most_once = {name: min(observing[name], 1) for name in ("GET events", "GET persistentvolumeclaims/NAME")}
            assert observing == Counter({"GET pods": 1, "GET jobs": 2, "GET namespaces/NAME": 2, **at_most_once}) + Counter()
        assert _ends(cluster_postgresql) == {True: SUBJECTS}
        assert all(job["status"].get("succeeded") == 1 for job in cluster_namespace.jobs())


def _through(url: str, folder: Path) -> Path:
    """A kubeconfig that reaches the cluster through the proxy."""
    file = folder / "proxy.kubeconfig"
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    clusters: list[dict[str, Any]] = [{"name": "proxy", "cluster": {"server": url}}]
    users: list[dict[str, Any]] = [{"name": "nobody", "user": {}}]
    file.write_text(json.dumps({"clusters": clusters, "contexts": [context], "users": users, "current-context": "proxy"}))
    return file


def _installation(folder: Path, server: postgresql.Server, *, kubeconfig: Path) -> Installation:
    create_migrated(server, DATABASE)
    variables = {"KUBECONFIG": str(kubeconfig), "GREGORY_CLUSTER_CONFIG": str(folder / "cluster.yaml")}
    installation = Installation(folder / "installation", environment={**server.environment(DATABASE), **variables})
    installation.run_code(OPEN % SUBJECTS)
    return installation


def _ends(server: postgresql.Server) -> dict[bool | None, int]:
    """Number of rows for each value of `success`."""
    with server.connect(DATABASE) as connection:
        return dict(connection.execute("select success, count(*) from gregory_predictionrunlog group by success").fetchall())
