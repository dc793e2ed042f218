"""A network file system for two nodes: MooseFS with its servers on this machine, and a client for each node.

Kernels without NFS have FUSE. The client of the second node is in its namespaces, so it loses its server when the link is cut. The
client keeps trying. `flock` counts on all clients.
"""

import shutil
from pathlib import Path

from tools.cluster import second_node
from tools.cluster.cluster import Cluster
from tools.cluster.daemon import Daemon
from tools.cluster.network import HOST

MASTER, CHUNKS, CLIENT = "/usr/sbin/mfsmaster", "/usr/sbin/mfschunkserver", "/usr/bin/mfsmount"
PROGRAMS = (MASTER, CHUNKS, CLIENT)
REMEDY = "as root: apt-get install moosefs-master moosefs-chunkserver moosefs-client"
# In the log of a master to which clients can connect. A client that cannot connect ends.
SERVES = "initialized properly"
EMPTY = Path("/var/lib/mfs/metadata.mfs.empty")
CONFIG = """
WORKING_USER = root
WORKING_GROUP = root
DATA_PATH = {folder}
EXPORTS_FILENAME = {folder}/exports.cfg
HDD_CONF_FILENAME = {folder}/hdd.cfg
MASTER_HOST = {host}
MATOML_LISTEN_HOST = {host}
MATOCS_LISTEN_HOST = {host}
MATOCL_LISTEN_HOST = {host}
CSSERV_LISTEN_HOST = {host}
"""


def mounted(cluster: Cluster) -> Path:
    """The folder that shows the volume on both nodes. Servers and clients end with the cluster."""
    servers, volume = cluster.folder / "moosefs", cluster.folder / "volume"
    for folder in (servers / "master", servers / "chunks", servers / "disk", volume):
        folder.mkdir(parents=True)
    shutil.copy(EMPTY, servers / "master" / "metadata.mfs")
    (servers / "master" / "exports.cfg").write_text("* / rw,alldirs,maproot=0\n")
    (servers / "chunks" / "hdd.cfg").write_text(f"{servers}/disk\n")
    # In the foreground, the client asks the server before it reads a name, and keeps no absence.
    client = [CLIENT, str(volume), "-f", "-H", str(HOST.ip)]
    there = second_node.inside(cluster.daemons[second_node.NAME].pid)
    daemons = [
        _server(servers / "master", "mfsmaster", MASTER),
        _server(servers / "chunks", "mfschunkserver", CHUNKS),
        Daemon(name="mfsmount", argv=client, log=servers / "mfsmount.log", ready=lambda: _has_space(volume)),
        Daemon(name=f"{second_node.NAME} mfsmount", argv=[*there, *client], log=servers / f"{second_node.NAME}.log"),
    ]
    daemons[-1].ready = lambda: _has_space(Path(f"/proc/{daemons[-1].pid}/root") / volume.relative_to("/"))
    for daemon in daemons:
        cluster.add(daemon)
    return volume


def _server(folder: Path, name: str, program: str) -> Daemon:
    config = folder / f"{name}.cfg"
    config.write_text(CONFIG.format(folder=folder, host=HOST.ip))
    log = folder.with_suffix(".log")
    return Daemon(
        name=name, argv=[program, "-c", str(config), "-f", "start"], log=log, ready=lambda: SERVES in log.read_text(errors="replace")
    )


def _has_space(folder: Path) -> bool:
    """Whether a client is mounted there and its servers can store files."""
    try:
        return folder.is_mount() and shutil.disk_usage(folder).free > 0
    except OSError:
        return False
