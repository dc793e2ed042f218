"""Container images made without a Docker engine, in the format of `docker save`."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image.

    folder: the working directory of the entry point. layers: uncompressed tar archives, the lowest first.
    """

    name: str
    layers: tuple[Path, ...]
    entrypoint: list[str] | None = None
    folder: str = "/"
    variables: Mapping[str, str] = field(default_factory=dict)


def write(archive: Path, *, name: str, layer: Path, entrypoint: list[str] | None = None) -> None:
    """One image of one layer: an uncompressed tar archive of a whole root file system."""
    write_all(archive, Image(name=name, entrypoint=entrypoint, layers=(layer,)))


def write_all(archive: Path, *images: Image) -> None:
    """Several images. The archive contains each layer once."""
    digests = {layer: f"sha256:{_digest(layer)}" for layer in dict.fromkeys(layer for image in images for layer in image.layers)}
    members = {layer: f"layer-{number}.tar" for number, layer in enumerate(digests)}
    manifest = []
    with tarfile.open(archive, "w") as tar:
        for number, image in enumerate(images):
            environment = [PATH, *(f"{name}={value}" for name, value in image.variables.items())]
            command = {"Entrypoint": image.entrypoint, "Env": environment, "WorkingDir": image.folder}
            rootfs = {"type": "layers", "diff_ids": [digests[layer] for layer in image.layers]}
            config = f"config-{number}.json"
            _add(tar, config, {"architecture": "amd64", "os": "linux", "config": command, "rootfs": rootfs})
            manifest.append({"Config": config, "RepoTags": [image.name], "Layers": [members[layer] for layer in image.layers]})
        _add(tar, "manifest.json", manifest)
        for layer, member in members.items():
            tar.add(layer, member)


def of_program(archive: Path, *, name: str, program: Path) -> None:
    """An image with one static program as its entry point."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.add(program, program.name)
    write(archive, name=name, layer=layer, entrypoint=[f"/{program.name}"])
    layer.unlink()


def _add(tar: tarfile.TarFile, member: str, content: Any) -> None:
    data = json.dumps(content).encode()
    header = tarfile.TarInfo(member)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
