"""Images without an engine: one layer and a command, in the format of `docker save`."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(archive: Path, *, name: str, layer: Path, entrypoint: list[str] | None = None) -> None:
    """`layer` is an uncompressed tar archive of a whole root file system."""
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Env": [PATH]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for member, content in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            header = tarfile.TarInfo(member)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
        tar.add(layer, "layer.tar")


def of_program(archive: Path, *, name: str, program: Path) -> None:
    """An image that holds one static program and runs it."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.add(program, program.name)
    write(archive, name=name, layer=layer, entrypoint=[f"/{program.name}"])
    layer.unlink()
