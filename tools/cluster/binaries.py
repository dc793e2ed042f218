"""Kubernetes programs of one pinned version, built once from the Go module proxy, and the paths of Debian's programs."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.docker_engine import BOOTSTRAP, CACHE

VERSION = "v1.34.4"
SOURCE = Path(__file__).parent / "kubernetes"
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


def usable() -> bool:
    """Whether this user on this machine can start a cluster."""
    built = folder().exists() or shutil.which("go")
    return os.geteuid() == 0 and bool(built) and all(Path(program).exists() for program in DEBIAN)


def folder() -> Path:
    """The folder of the programs of this version, built or not."""
    return CACHE / "kubernetes" / VERSION


def build() -> Path:
    """Build the programs if they are not there: some minutes of two cores. Returns their folder."""
    if not folder().exists():
        sys.stderr.write(f"building Kubernetes {VERSION}, once: some minutes\n")
        folder().parent.mkdir(parents=True, exist_ok=True)
        # One rename at the end: a folder that exists is complete.
        with tempfile.TemporaryDirectory(dir=folder().parent) as temporary:
            unfinished = Path(temporary) / "programs"
            unfinished.mkdir()
            subprocess.run(
                ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", _linker_flags(), "-o", f"{unfinished}/", *PACKAGES],
                cwd=SOURCE, env={**os.environ, "CGO_ENABLED": "0"}, check=True,
            )  # fmt: skip
            try:
                unfinished.rename(folder())
            except OSError:
                # Another process has built the programs meanwhile.
                if not folder().exists():
                    raise
    return folder()


def _linker_flags() -> str:
    """The version stamps of Kubernetes' own build. Without them nodes and servers report version v0.0.0."""
    major, minor, _ = VERSION.removeprefix("v").split(".")
    stamps = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s", "-w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())])
