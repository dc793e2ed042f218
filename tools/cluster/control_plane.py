"""The four programs of the control plane. All listen on loopback alone."""

import json
from pathlib import Path

from tools.cluster.binaries import ETCD
from tools.cluster.daemon import Daemon
from tools.cluster.network import HOST, PORT, SERVICES

STORE = "http://127.0.0.1:2379"
PEERS = "http://127.0.0.1:2380"
# Seconds without an answer after which a node counts as lost. With Kubernetes' own 40 s, tests would wait.
GRACE = 10
# One line for every request that makes or deletes a Job, or with which Kueue suspends or releases one.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "delete", "deletecollection"], "resources": [{"group": "batch", "resources": ["jobs"]}]},
        {
            "level": "Request",
            "users": ["system:serviceaccount:kueue-system:kueue-controller-manager"],
            "verbs": ["patch"],
            "resources": [{"group": "batch", "resources": ["jobs"]}],
        },
        {"level": "None"},
    ],
}
AUDIT_LOG = "audit.log"
# Request rates of the clients, far above the load of one node.
RATES = ["--kube-api-qps=200", "--kube-api-burst=400"]


def daemons(folder: Path, programs: Path) -> list[Daemon]:
    """The daemons, in the order of their start."""
    keys = folder / "pki"
    audit_policy = folder / "audit-policy.json"
    audit_policy.write_text(json.dumps(AUDIT_POLICY))
    etcd = [
        ETCD, f"--data-dir={folder}/etcd",
        f"--listen-client-urls={STORE}", f"--advertise-client-urls={STORE}", f"--listen-peer-urls={PEERS}",
        # The data ends with the cluster. After a kill of etcd they are still in the page cache.
        "--unsafe-no-fsync",
    ]  # fmt: skip
    api_server = [
        f"--etcd-servers={STORE}", "--bind-address=127.0.0.1", f"--secure-port={PORT}",
        # The address behind kubernetes.default. Kubernetes refuses loopback here.
        f"--advertise-address={HOST.ip}",
        f"--service-cluster-ip-range={SERVICES}", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={keys}/ca.crt",
        f"--tls-cert-file={keys}/kube-apiserver.crt", f"--tls-private-key-file={keys}/kube-apiserver.key",
        f"--kubelet-client-certificate={keys}/kube-apiserver.crt", f"--kubelet-client-key={keys}/kube-apiserver.key",
        f"--kubelet-certificate-authority={keys}/ca.crt", "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={audit_policy}", f"--audit-log-path={folder / AUDIT_LOG}",
        "--service-account-issuer=https://kubernetes.default.svc",
        # Calls of webhooks go to the pods of their Service, because no kube-proxy runs.
        "--enable-aggregator-routing=true",
        f"--service-account-key-file={keys}/kube-apiserver.crt", f"--service-account-signing-key-file={keys}/kube-apiserver.key",
    ]  # fmt: skip
    controller_manager = [
        "--secure-port=0", "--leader-elect=false", "--use-service-account-credentials=true", *RATES,
        f"--service-account-private-key-file={keys}/kube-apiserver.key", f"--root-ca-file={keys}/ca.crt",
        f"--node-monitor-grace-period={GRACE}s", "--node-monitor-period=1s",
    ]  # fmt: skip
    # After a restart of the API server an event that makes a pod schedulable can be lost. By default the scheduler waits 5 minutes for it.
    scheduler = ["--secure-port=0", "--leader-elect=false", "--pod-max-in-unschedulable-pods-duration=20s", *RATES]
    with_flags = {"kube-apiserver": api_server}
    for name, flags in (("kube-controller-manager", controller_manager), ("kube-scheduler", scheduler)):
        with_flags[name] = [f"--kubeconfig={keys}/{name}.kubeconfig", *flags]
    own = [Daemon(name=name, argv=[str(programs / name), *flags], log=folder / f"{name}.log") for name, flags in with_flags.items()]
    return [Daemon(name="etcd", argv=etcd, log=folder / "etcd.log"), *own]
