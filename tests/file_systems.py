"""Real file systems for a block: root mounts them. The image files of ext4 and exFAT lie beside the folder."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.strict import need

MEBIBYTE = 2**20


def tmpfs(folder: Path, options: str = "size=64m") -> AbstractContextManager[None]:
    return _mounted(folder, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))


def bound(source: Path, folder: Path) -> AbstractContextManager[None]:
    """The folder `source` a second time. It is the same file system and another mount."""
    return _mounted(folder, "mount", "--bind", str(source), str(folder))


@contextmanager
def ext4(folder: Path, *, mebibytes: int = 16) -> Iterator[None]:
    image = _image(folder, mebibytes)
    # Without blocks that only root may use.
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    with _mounted(folder, "mount", "-o", "loop", str(image), str(folder)):
        yield


@contextmanager
def exfat(folder: Path, *, mebibytes: int = 256) -> Iterator[None]:
    """A file system without hard links, symbolic links and permissions."""
    programs = shutil.which("mkfs.exfat"), shutil.which("mount.exfat-fuse")
    need(all(programs), what="exFAT", remedy="apt-get install exfatprogs exfat-fuse")
    image = _image(folder, mebibytes)
    subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
    with _mounted(folder, "mount", "-t", "exfat-fuse", "-o", "loop", str(image), str(folder)):
        yield


def fill(folder: Path) -> None:
    """Fill the file system of the folder to its last block."""
    with (folder / "filler").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            return


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def _image(folder: Path, mebibytes: int) -> Path:
    image = folder.with_name(f"{folder.name}.image")
    with image.open("wb") as stream:
        stream.truncate(mebibytes * MEBIBYTE)
    return image


@contextmanager
def _mounted(folder: Path, *command: str) -> Iterator[None]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    need(
        done.returncode == 0,
        what=f"the right to mount a file system ({done.stderr.strip()})",
        remedy="run the tests as root, in a container with --cap-add SYS_ADMIN",
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
