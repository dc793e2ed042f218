"""The helm program of one pinned version, built once from the Go module proxy, and its commands for the chart."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.cluster import binaries
from tools.docker_engine import CACHE
from tools.installation import REPOSITORY

VERSION = "v3.22.0"
PACKAGE = f"helm.sh/helm/v3/cmd/helm@{VERSION}"
CHART = REPOSITORY / "helm" / "gregory-train"
DEFAULT = REPOSITORY / "tests" / "chart" / "golden" / "default.yaml"
PRESETS = CHART / "presets"
RELEASE, NAMESPACE = "gregory-train", "gregory-train"
REMEDY = "install Go 1.24 or later and put it on the PATH"


def usable() -> bool:
    """Whether the program exists or can be built."""
    return program().exists() or shutil.which("go") is not None


def program() -> Path:
    """The path of the program, built or not."""
    return CACHE / "helm" / VERSION / "helm"


def build() -> Path:
    """Build the program if it is not there: some minutes of two cores. Returns its path."""
    if not program().exists():
        sys.stderr.write(f"building helm {VERSION}, once: some minutes\n")
        program().parent.parent.mkdir(parents=True, exist_ok=True)
        # One rename at the end: a folder that exists is complete.
        with tempfile.TemporaryDirectory(dir=program().parent.parent) as temporary:
            unfinished = Path(temporary) / "bin"
            subprocess.run(
                ["go", "install", "-trimpath", "-ldflags", _linker_flags(), PACKAGE],
                cwd=temporary, env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(unfinished)}, check=True,
            )  # fmt: skip
            try:
                unfinished.rename(program().parent)
            except OSError:
                # Another process has built the program meanwhile.
                if not program().exists():
                    raise
    return program()


def _linker_flags() -> str:
    """The Kubernetes version for rendering without a cluster, as helm's own build sets it. Without it the version is 1.20."""
    major, minor, _ = binaries.VERSION.removeprefix("v").split(".")
    places = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")
    return " ".join(["-s", "-w", *(f"-X {place}.k8sVersionMajor={major} -X {place}.k8sVersionMinor={minor}" for place in places)])


def helm(*arguments: str, timeout: float = 600, **variables: str) -> subprocess.CompletedProcess[str]:
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


def template(
    *arguments: str, release: str = RELEASE, namespace: str = NAMESPACE, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The objects that the chart renders, with hooks."""
    with tempfile.TemporaryDirectory(prefix="gregory-values-") as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(json.dumps(dict(values or {})), encoding="utf-8")
        rendered = must("template", release, str(CHART), "--namespace", namespace, *arguments, "--values", str(file))
    return [one for one in yaml.safe_load_all(rendered) if one]
