"""Identities of the cluster: one certificate authority, one certificate for each component, and their kubeconfigs."""

import json
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

from tools.cluster.binaries import OPENSSL
from tools.cluster.network import API, HOST, SERVICE

# Kubernetes reads user and group from the common name and organisation of a certificate.
SUBJECTS = {
    "admin": "/O=system:masters/CN=admin",
    "kube-apiserver": "/O=system:masters/CN=kube-apiserver",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
}
CURVE = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]


def create(folder: Path, *, node: str) -> None:
    """Create keys, certificates and kubeconfigs in `folder`. The key of the API server also signs service account tokens."""
    folder.mkdir()
    authority(folder, "ca", "/CN=gregory-cluster")
    names = {"kube-apiserver": f"IP:127.0.0.1,IP:{HOST.ip},IP:{SERVICE},DNS:localhost,DNS:kubernetes.default.svc"}
    for user, subject in SUBJECTS.items():
        extensions = [f"subjectAltName={names[user]}"] if user in names else []
        _identity(folder, user, subject, *extensions)
    _kubelet(folder, node, HOST.ip)


def create_node(folder: Path, cluster: Path, *, node: str, address: IPv4Address) -> None:
    """Create in `folder` the key, the certificate and the kubeconfig of a node that is no process of this network.

    cluster: the folder of `create`.
    """
    folder.mkdir()
    for name in ("ca.crt", "ca.key", "openssl.cnf"):
        shutil.copy(cluster / name, folder / name)
    _kubelet(folder, node, address, server=f"https://{SERVICE}")


def _kubelet(folder: Path, node: str, address: IPv4Address, *, server: str = API) -> None:
    subject = f"/O=system:nodes/CN=system:node:{node}"
    _identity(folder, "kubelet", subject, f"subjectAltName=IP:{address},DNS:{node}", server=server)


def _identity(folder: Path, user: str, subject: str, *extensions: str, server: str = API) -> None:
    certificate(folder, user, subject, "extendedKeyUsage=serverAuth,clientAuth", *extensions, issuer="ca")
    (folder / f"{user}.kubeconfig").write_text(json.dumps(_kubeconfig(folder, user, server)))


def authority(folder: Path, name: str, subject: str) -> None:
    """Create the key and the certificate of an authority in this folder."""
    # The OpenSSL configuration of the machine has no influence.
    (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
    certificate(folder, name, subject, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")


def certificate(folder: Path, name: str, subject: str, *extensions: str, issuer: str | None = None) -> None:
    """Create a key and a certificate. `issuer` is the name of an authority in the folder. Without one, the certificate signs itself."""
    signed = ["-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key"] if issuer else []
    added = [word for extension in extensions for word in ("-addext", extension)]
    subprocess.run(
        [
            OPENSSL, "req", "-x509", "-config", "openssl.cnf", "-newkey", "ec", *CURVE, "-noenc", "-days", "3650",
            "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", subject, *signed, *added,
        ],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def _kubeconfig(folder: Path, user: str, server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gregory", "cluster": {"server": server, "certificate-authority": str(folder / "ca.crt")}}],
        "users": [{"name": user, "user": {"client-certificate": str(folder / f"{user}.crt"), "client-key": str(folder / f"{user}.key")}}],
        "contexts": [{"name": user, "context": {"cluster": "gregory", "user": user}}],
        "current-context": user,
    }
