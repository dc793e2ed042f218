"""A file of a test, and its reading with small limits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gregory.data.imports.errors import ImportRefused
from gregory.data.imports.read import ImportFile, Wanted, read_file
from gregory.data.imports.table import Limits

LIMITS = Limits(line=2_000_000, cell=1_000_000, unpacked=2_000_000)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Write a file, from text in UTF-8 or from bytes."""

    def write(content: str | bytes, name: str = "papers.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def read(write) -> Callable[..., ImportFile]:
    """Read a file with this content."""

    def read(content: str | bytes, name: str = "papers.csv", *, limits: Limits = LIMITS, **wanted: object) -> ImportFile:
        return read_file(write(content, name), Wanted(**wanted), limits)

    return read


@pytest.fixture
def refusal(read, tmp_path) -> Callable[..., tuple[str, ...]]:
    """The messages of a refused file, without its folder."""

    def refusal(content: str | bytes, name: str = "papers.csv", **options: object) -> tuple[str, ...]:
        with pytest.raises(ImportRefused) as caught:
            read(content, name, **options)
        return tuple(message.replace(f"{tmp_path}/", "") for message in caught.value.messages)

    return refusal
