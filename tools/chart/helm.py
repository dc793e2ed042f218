"""The helm programs of two pinned versions, built once from the Go module proxy, and their commands for the chart."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml

from tools.chosen_version import chosen_version
from tools.cluster import binaries
from tools.docker_engine import CACHE
from tools.go_programs import build_once, go
from tools.installation import REPOSITORY

# Helm 3 reaches its end of life, and many clusters still use it. The first version is the default.
VERSIONS = ("v4.3.1", "v3.22.0")
# Names another version for the release on the cluster: HELM=3.22.0.
VARIABLE = "HELM"
_IN_BLOCK: ContextVar[str] = ContextVar("version of helm")
CHART = REPOSITORY / "helm" / "gregory-train"
DEFAULT = REPOSITORY / "tests" / "chart" / "golden" / "default.yaml"
# The objects of the values in docs/kubernetes.md for predictions.
PREDICTIONS = DEFAULT.with_name("predictions.yaml")
PREDICTION_VALUES = DEFAULT.with_name("predictions-values.yaml")
# The same for the operator pages.
PAGES = DEFAULT.with_name("pages.yaml")
PAGE_VALUES = DEFAULT.with_name("pages-values.yaml")
PRESETS = CHART / "presets"
RELEASE, NAMESPACE = "gregory-train", "gregory-train"


@contextmanager
def using(version: str) -> Iterator[None]:
    """Use this version in the block."""
    token = _IN_BLOCK.set(version)
    try:
        yield
    finally:
        _IN_BLOCK.reset(token)


def version() -> str:
    """The version of the block, or else of this process. Raises RuntimeError if HELM names one that cannot be built."""
    return _IN_BLOCK.get("") or chosen_version(VARIABLE, VERSIONS)


def is_3() -> bool:
    return version().startswith("v3.")


def usable() -> bool:
    """Whether the program exists or can be built."""
    return program().exists() or shutil.which("go") is not None


def program() -> Path:
    """The path of the program, built or not."""
    return CACHE / "helm" / version() / "helm"


def build() -> Path:
    """Build the program if it is not there. Returns its path."""
    return build_once(program().parent, f"helm {version()}", _build) / program().name


def _build(programs: Path) -> None:
    major = version().removeprefix("v").partition(".")[0]
    package = f"helm.sh/helm/v{major}/cmd/helm@{version()}"
    go("install", "-trimpath", "-ldflags", _linker_flags(major), package, folder=programs, GOBIN=str(programs))


def _linker_flags(major_of_helm: str) -> str:
    """For Helm 3 the Kubernetes version for rendering without a cluster, as its own build sets it. Without it the version is 1.20."""
    if major_of_helm != "3":
        return "-s -w"
    major, minor, _ = binaries.DEFAULT.removeprefix("v").split(".")
    places = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")
    return " ".join(["-s", "-w", *(f"-X {place}.k8sVersionMajor={major} -X {place}.k8sVersionMinor={minor}" for place in places)])


def helm(*arguments: str, timeout: float = 1200, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run helm. The caller checks the exit code."""
    # Without the developer's own helm settings, and without a cluster that is not named.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    with tempfile.TemporaryDirectory(prefix="gregory-helm-") as home:
        own = dict.fromkeys(("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"), home)
        environment = {**kept, **own, "KUBECONFIG": "/dev/null", **variables}
        return subprocess.run([str(build()), *arguments], env=environment, capture_output=True, text=True, timeout=timeout)


def must(*arguments: str, **options: Any) -> str:
    """Run helm, which must succeed. Returns its standard output."""
    done = helm(*arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def predictions() -> str:
    """The objects of the chart that a schedule of predictions changes, as text."""
    return _shown(PREDICTION_VALUES, "cronjobs", "configmap", "role")


def pages() -> str:
    """The objects of the chart that the operator pages add or change, as text."""
    return _shown(PAGE_VALUES, "pages", "networkpolicies", "tests/pages")


def default() -> str:
    """All objects of the default values, as text."""
    return _text()


def _shown(values: Path, *names: str) -> str:
    return _text("--values", str(values), *(argument for name in names for argument in ("--show-only", f"templates/{name}.yaml")))


def _text(*arguments: str) -> str:
    rendered = must("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments)
    # Helm 4 keeps the empty lines at the end of a template.
    return re.sub(r"\n+(?=\n---\n|\n\Z)", "", rendered)


def template(
    *arguments: str, release: str = RELEASE, namespace: str = NAMESPACE, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The objects that the chart renders, with hooks."""
    with tempfile.TemporaryDirectory(prefix="gregory-values-") as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(json.dumps(dict(values or {})), encoding="utf-8")
        rendered = must("template", release, str(CHART), "--namespace", namespace, *arguments, "--values", str(file))
    # The parser in C: hundreds of tests render the chart.
    return [one for one in yaml.load_all(rendered, Loader=yaml.CSafeLoader) if one]
