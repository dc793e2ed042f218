"""Identities of the cluster: one certificate authority, one certificate for each component, and their kubeconfigs."""

import json
import subprocess
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
    names = {
        "kube-apiserver": f"IP:127.0.0.1,IP:{HOST.ip},IP:{SERVICE},DNS:localhost,DNS:kubernetes.default.svc",
        "kubelet": f"IP:{HOST.ip},DNS:{node}",
    }
    for user, subject in {**SUBJECTS, "kubelet": f"/O=system:nodes/CN=system:node:{node}"}.items():
        extensions = [f"subjectAltName={names[user]}"] if user in names else []
        certificate(folder, user, subject, "extendedKeyUsage=serverAuth,clientAuth", *extensions, issuer="ca")
        (folder / f"{user}.kubeconfig").write_text(json.dumps(_kubeconfig(folder, user)))


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


def _kubeconfig(folder: Path, user: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gregory", "cluster": {"server": API, "certificate-authority": str(folder / "ca.crt")}}],
        "users": [{"name": user, "user": {"client-certificate": str(folder / f"{user}.crt"), "client-key": str(folder / f"{user}.key")}}],
        "contexts": [{"name": user, "context": {"cluster": "gregory", "user": user}}],
        "current-context": user,
    }
