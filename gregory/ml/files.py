"""Files: bounded reads of regular files, checksums, links with a copy as their substitute, locks, and flushing to the disk.

The process of a run can write every file of the models volume. So a reader takes no file for what its name promises: a pipe never
ends, a sparse file of gigabytes fills the memory, and bytes may be no text.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from gregory.ml.absence import retry_missing
from gregory.ml.errors import DamagedFile

# The largest text is an outcome report. It has one traceback per algorithm, and the database keeps 200,000 characters of each.
MAXIMUM_TEXT_BYTES = 16 * 2**20
# The weights of the largest encoder that one GPU trains need less.
MAXIMUM_FILE_BYTES = 16 * 2**30
# Of a log only the end is read, so its size does not matter.
ANY_SIZE = 2**63
_CHUNK = 2**20
_LOCK_POLL_SECONDS = 0.1
# O_NONBLOCK: opening a pipe without a writer would wait for ever. O_NOFOLLOW: a link could lead out of the volume.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# NFS refuses the exclusive lock of a file that is open for reading with EBADF.
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EBADF)
# Some network file systems keep no order of names, so their folders have no flush.
_WITHOUT_FLUSH = (errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def open_regular(path: Path, *, maximum: int = MAXIMUM_FILE_BYTES) -> Iterator[BufferedReader]:
    """Open a regular file of at most `maximum` bytes. Raises DamagedFile for any other. Raises OSError if it cannot be opened."""
    try:
        descriptor = retry_missing(path, lambda: os.open(path, _FLAGS))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise DamagedFile(f"{path}: not a regular file") from error
        raise
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise DamagedFile(f"{path}: not a regular file")
        if facts.st_size > maximum:
            raise DamagedFile(f"{path}: has {facts.st_size} bytes instead of at most {maximum}")
        with open(descriptor, "rb", closefd=False) as stream:
            yield stream
    finally:
        os.close(descriptor)


def read_text(path: Path, *, maximum: int = MAXIMUM_TEXT_BYTES) -> str:
    """The UTF-8 text of a file. Raises DamagedFile if there is none, and OSError if the file cannot be read."""
    with open_regular(path, maximum=maximum) as stream:
        # The file may grow between its size and this read.
        content = stream.read(maximum + 1)
    if len(content) > maximum:
        raise DamagedFile(f"{path}: has more than {maximum} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFile(f"{path}: not UTF-8") from error


def read_json(path: Path) -> Any:
    """The JSON value of a file that both databases can store. Raises DamagedFile for any other content, and OSError as `read_text`."""
    text = read_text(path)
    try:
        value = json.loads(text)
        # PostgreSQL refuses NaN, lone surrogates and NUL in JSON. The first two raise ValueError here.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path}: not valid JSON") from error
    if not is_storable(value):
        raise DamagedFile(f"{path}: contains NUL")
    return value


def is_of_volume(name: str) -> bool:
    """True for the names of hidden files and of lost+found: a file system, a snapshot or a trial puts them there. They stay as they are."""
    return name.startswith(".") or name == "lost+found"


def is_storable(value: Any) -> bool:
    """Whether both databases can store a JSON value: PostgreSQL refuses NUL, and no database takes NaN."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    # A pair of backslashes is one backslash of the text.
    return "\\u0000" not in text.replace("\\\\", "")


def read_end(path: Path, *, size: int) -> bytes:
    """The last bytes of a file, at most `size`. Empty if there is no such regular file."""
    try:
        with open_regular(path, maximum=ANY_SIZE) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - size))
            return stream.read(size)
    except (DamagedFile, OSError):
        return b""


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksum(path: Path, *, maximum: int = MAXIMUM_FILE_BYTES) -> tuple[str, int]:
    """The sha256 of a regular file in hexadecimal, and its size in bytes. Raises DamagedFile and OSError as `open_regular`."""
    with open_regular(path, maximum=maximum) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size


def copy_and_checksum(source: Path, target: Path, *, maximum: int = MAXIMUM_FILE_BYTES) -> tuple[str, int]:
    """Copy a regular file. The sha256 in hexadecimal and the size are those of the copied bytes. At most `maximum` + 1 bytes are copied.

    Raises DamagedFile and OSError as `open_regular`, and FileExistsError if the target exists.
    """
    digest, size = hashlib.sha256(), 0
    with open_regular(source, maximum=maximum) as stream, target.open("xb") as copy:
        # The file may grow while it is read.
        while chunk := stream.read(min(_CHUNK, maximum + 1 - size)):
            size += len(chunk)
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest(), size


def link_or_copy(source: Path, target: Path) -> bool:
    """Give a regular file a second name: a hard link, or a copy where the file system refuses links (exFAT, SMB). True if it is a link.

    The name appears with the complete content. Raises FileExistsError if it is taken, and OSError if the copy fails, too.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # File systems refuse a link with many different errors. If the cause is another one, the copy fails with it.
        _copy(source, target)
        return False
    return True


def symlink_or_copy(source: Path, target: Path) -> None:
    """Let `target` be a symbolic link to a file, or a copy where the file system has none. Raises OSError."""
    source = source.resolve()
    try:
        target.symlink_to(source)
    except FileExistsError:
        raise
    except OSError:
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    unfinished = target.with_name(f"{target.name}.partial")
    try:
        shutil.copyfile(source, unfinished, follow_symlinks=False)
        flush(unfinished)
        times = source.stat()
        os.utime(unfinished, ns=(times.st_atime_ns, times.st_mtime_ns))
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        unfinished.rename(target)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed. False if another process has the lock, None if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return None
    return True


def wait_for_lock(descriptor: int, *, seconds: float) -> bool | None:
    """As `try_lock`, and wait for another process that has the lock. False if it still has it after these seconds."""
    deadline = time.monotonic() + seconds
    while (locked := try_lock(descriptor)) is False and time.monotonic() < deadline:
        time.sleep(_LOCK_POLL_SECONDS)
    return locked


def replace_text(path: Path, text: str) -> None:
    """Replace a file as a whole: a reader finds the old text or the new one, also after a power cut. Raises OSError.

    Every account can read it. The unfinished copy has a hidden name. A process that is killed leaves it.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with unfinished.open("x", encoding="utf-8") as stream:
            stream.write(text)
        let_all_read(unfinished)
        flush(unfinished)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    flush(path.parent)


def flush(path: Path) -> bool:
    """Flush a file, or the names in a folder, to the disk, so that they survive a power cut. False if it is a folder that has no flush."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _WITHOUT_FLUSH or not path.is_dir():
            raise
        return False
    finally:
        os.close(descriptor)
    return True


def flush_tree(folder: Path) -> None:
    """Flush a folder and all its files to the disk."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)


def let_all_read(path: Path) -> None:
    """Let every account read a file, or a folder with all its files, and only its owner write, whatever the umask was."""
    for each in [*path.rglob("*"), path]:
        # Another account may have made it, or the file system has no modes.
        with suppress(PermissionError):
            each.chmod(0o755 if each.is_dir() else 0o644)


def keep_private(folder: Path, *, group: int) -> None:
    """Let only the owner and its group enter a folder, whatever the umask was. group: the bit with which the group may write."""
    with suppress(PermissionError):
        folder.chmod(0o750 | group)


def group_write(folder: Path) -> int:
    """The bit of the mode with which the group may write into a folder. 0 if it may not, or if there is no such folder."""
    try:
        return folder.stat().st_mode & stat.S_IWGRP
    except OSError:
        return 0
