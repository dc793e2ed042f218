"""The helm program of one pinned version, built once from the Go module proxy, and its commands on our chart."""

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
    """Whether there is such a program, or it can be built."""
    return program().exists() or shutil.which("go") is not None


def program() -> Path:
    """Where it is, or will be."""
    return CACHE / "helm" / VERSION / "helm"


def build() -> Path:
    """The program: minutes of two cores the first time, nothing afterwards."""
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
                # Another process has built it meanwhile.
                if not program().exists():
                    raise
    return program()


def _linker_flags() -> str:
    """The Kubernetes that charts are rendered for where no cluster is asked, which helm's own build sets in this way: else it is 1.20."""
    major, minor, _ = binaries.VERSION.removeprefix("v").split(".")
    places = ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")
    return " ".join(["-s", "-w", *(f"-X {place}.k8sVersionMajor={major} -X {place}.k8sVersionMinor={minor}" for place in places)])


def helm(*arguments: str, timeout: float = 600, **variables: str) -> subprocess.CompletedProcess[str]:
    """Its exit code is left to the caller."""
    # Nothing of the developer's own helm, and nothing of a cluster that is not named.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
    with tempfile.TemporaryDirectory(prefix="gregory-helm-") as home:
        own = dict.fromkeys(("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"), home)
        environment = {**kept, **own, "KUBECONFIG": "/dev/null", **variables}
        return subprocess.run([str(build()), *arguments], env=environment, capture_output=True, text=True, timeout=timeout)


def must(*arguments: str, **options: Any) -> str:
    """What it printed; it has to succeed."""
    done = helm(*arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def template(
    *arguments: str, release: str = RELEASE, namespace: str = NAMESPACE, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The objects that the chart makes, hooks included."""
    with tempfile.TemporaryDirectory(prefix="gregory-values-") as folder:
        file = Path(folder) / "values.yaml"
        file.write_text(json.dumps(dict(values or {})), encoding="utf-8")
        rendered = must("template", release, str(CHART), "--namespace", namespace, *arguments, "--values", str(file))
    return [one for one in yaml.safe_load_all(rendered) if one]
