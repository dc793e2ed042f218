"""The machine as a node: containerd runs containers, the kubelet runs pods. Both use the folder of the cluster alone."""

import json
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import grpc

from tools.cluster import cgroups
from tools.cluster.binaries import CNI, CONTAINERD
from tools.cluster.daemon import Daemon
from tools.cluster.network import HOST

NAME = "node-1"
PAUSE = "gregory.test/pause:1"
CONTAINERD_CONFIG = """
version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
# A lower score needs a capability that root in a container lacks.
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{folder}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni"
"""


def runtime_answers(folder: Path) -> bool:
    """Whether containerd answers a kubelet. It serves its other users before that, and a kubelet that asks too early ends."""
    with grpc.insecure_channel(f"unix://{folder}/containerd.sock") as channel:
        try:
            channel.unary_unary("/runtime.v1.RuntimeService/Version")(b"", timeout=2)
        except grpc.RpcError:
            return False
    return True


def daemons(
    folder: Path,
    programs: Path,
    *,
    name: str,
    labels: dict[str, str],
    address: IPv4Address = HOST.ip,
    group: str = cgroups.NAME,
    inside: Sequence[str] = (),
    prefix: str = "",
) -> list[Daemon]:
    """containerd and the kubelet, with their configuration files.

    inside: the command that runs both in the namespaces of the node. prefix: of the names of the daemons.
    """
    containerd_config, kubelet_config = folder / "containerd.toml", folder / "kubelet.json"
    containerd_config.write_text(CONTAINERD_CONFIG.format(folder=folder, pause=PAUSE, cni=CNI))
    kubelet_config.write_text(json.dumps(_kubelet(folder, address, group)))
    kubelet = [
        str(programs / "kubelet"), f"--config={kubelet_config}", f"--kubeconfig={folder}/pki/kubelet.kubeconfig",
        f"--hostname-override={name}", f"--node-ip={address}", f"--root-dir={folder}/kubelet",
        "--node-labels=" + ",".join(f"{label}={value}" for label, value in labels.items()), "--v=2",
    ]  # fmt: skip
    return [
        Daemon(name=f"{prefix}containerd", argv=[*inside, CONTAINERD, "--config", str(containerd_config)], log=folder / "containerd.log"),
        Daemon(name=f"{prefix}kubelet", argv=[*inside, *kubelet], log=folder / "kubelet.log"),
    ]


def _kubelet(folder: Path, address: IPv4Address, group: str) -> dict[str, object]:
    keys = folder / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(address),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{keys}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{keys}/kubelet.crt",
        "tlsPrivateKeyFile": f"{keys}/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # Other work on this machine must neither evict pods nor remove images.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 200,
        "serializeImagePulls": False,
        "nodeStatusUpdateFrequency": "2s",
        # The node renews its lease every quarter of this. So its loss and its return are noticed within seconds.
        "nodeLeaseDurationSeconds": 8,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "eventRecordQPS": 0,
        # No server answers there, so a DNS query fails at once.
        "clusterDNS": [str(HOST.ip)],
        "clusterDomain": "cluster.local",
        "healthzPort": 0,
        "makeIPTablesUtilChains": False,
        "podLogsDir": f"{folder}/pods",
        "volumePluginDir": f"{folder}/volume-plugins",
    }
