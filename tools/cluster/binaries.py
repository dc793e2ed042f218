"""Kubernetes programs of pinned versions, each built once from the Go module proxy, and the paths of Debian's programs."""

import os
import shutil
from pathlib import Path

from tools.chosen_version import chosen_version
from tools.docker_engine import BOOTSTRAP, CACHE
from tools.go_programs import build_once, go

SOURCE = Path(__file__).parent / "kubernetes"
# The modules of each version. The first version is the default.
VERSIONS = {"v1.34.4": "go.mod", "v1.37.2": "v1.37.2.mod", "v1.31.0": "v1.31.0.mod"}
DEFAULT = next(iter(VERSIONS))
# Names another version: KUBERNETES=1.37.2.
VARIABLE = "KUBERNETES"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
PACKAGES = ["k8s.io/kubernetes/cmd/" + program for program in PROGRAMS] + ["./pause"]
# Absolute paths: daemons have an environment of their own, and a developer's PATH can find another version.
ETCD, CONTAINERD, CTR, RUNC = "/usr/bin/etcd", "/usr/bin/containerd", "/usr/bin/ctr", "/usr/sbin/runc"
IP, IPTABLES, OPENSSL, CNI = "/usr/sbin/ip", "/usr/sbin/iptables", "/usr/bin/openssl", "/usr/lib/cni"
DEBIAN = (ETCD, CONTAINERD, CTR, RUNC, IP, IPTABLES, OPENSSL, f"{CNI}/bridge", BOOTSTRAP)
REMEDY = (
    "as root: apt-get install etcd-server containerd runc containernetworking-plugins iptables iproute2 openssl debootstrap; "
    "and Go 1.24 or later on the PATH"
)


def version() -> str:
    """The version of the clusters of this process. Raises RuntimeError if KUBERNETES names one without modules."""
    return chosen_version(VARIABLE, VERSIONS)


def minor() -> int:
    """The second number of the version: tests expect other answers of older versions."""
    return int(version().split(".")[1])


def usable() -> bool:
    """Whether this user on this machine can start a cluster."""
    built = folder().exists() or shutil.which("go")
    return os.geteuid() == 0 and bool(built) and all(Path(program).exists() for program in DEBIAN)


def folder() -> Path:
    """The folder of the programs of this version, built or not."""
    return CACHE / "kubernetes" / version()


def build() -> Path:
    """Build the programs if they are not there. Returns their folder."""
    return build_once(folder(), f"Kubernetes {version()}", _build)


def _build(programs: Path) -> None:
    modules = f"-modfile={VERSIONS[version()]}"
    go("build", modules, "-mod=readonly", "-trimpath", "-ldflags", _linker_flags(), "-o", f"{programs}/", *PACKAGES, folder=SOURCE)


def _linker_flags() -> str:
    """The version stamps of Kubernetes' own build. Without them nodes and servers report version v0.0.0."""
    major, minor, _ = version().removeprefix("v").split(".")
    stamps = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s", "-w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())])
