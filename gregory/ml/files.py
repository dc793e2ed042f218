"""Files: bounded reads of regular files, checksums, and flushing to the disk.

The process of a run can write every file of the models volume. So a reader takes no file for what its name promises: a pipe never
ends, a sparse file of gigabytes fills the memory, and bytes may be no text.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from gregory.ml.errors import DamagedFile

# The largest text is an outcome report. It has one traceback per algorithm, and the database keeps 200,000 characters of each.
MAXIMUM_TEXT_BYTES = 16 * 2**20
# The weights of the largest encoder that one GPU trains need less.
MAXIMUM_FILE_BYTES = 16 * 2**30
# Of a log only the end is read, so its size does not matter.
ANY_SIZE = 2**63
# O_NONBLOCK: opening a pipe without a writer would wait for ever. O_NOFOLLOW: a link could lead out of the volume.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_regular(path: Path, *, maximum: int = MAXIMUM_FILE_BYTES) -> Iterator[BufferedReader]:
    """Open a regular file of at most `maximum` bytes. Raises DamagedFile for any other. Raises OSError if it cannot be opened."""
    try:
        descriptor = os.open(path, _FLAGS)
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


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """Flush a folder and all its files to the disk."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)
