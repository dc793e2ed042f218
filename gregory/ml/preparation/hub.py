"""Files of a model on the Hugging Face hub, at one revision. The checksum of each is compared with that of the hub.

HF_ENDPOINT and HF_HOME work as usual. A partial download stays, and the next attempt continues it, which `hf_hub_download` cannot do
across processes. Files in its cache are used. Only this module imports `huggingface_hub`.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils._headers import build_hf_headers

from gregory.ml.errors import BundleError
from gregory.ml.files import sha256, symlink_or_copy
from gregory.ml.progress import Progress, Report

SECONDS_BETWEEN_REPORTS = 5.0
_LOCAL = "without a network give the model's folder with {option}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A model of the hub. sha256: known checksums of files. option: the flag for a folder in place of the download."""

    repository: str
    revision: str
    licence: str
    option: str
    sha256: Mapping[str, str]


def fetch(pin: Pin, *, small: Sequence[str], weights: Sequence[str], report: Report) -> Path:
    """A folder with all `small` files of the model and with the first file of `weights` that it has. Raises BundleError."""
    # Its warnings about retries and missing tokens have several lines. This module reports the important facts.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    siblings = _siblings(pin)
    heaviest = next((name for name in weights if name in siblings), None)
    if heaviest is None:
        raise BundleError(f"{_named(pin)} holds none of {', '.join(weights)}")
    folder = Path(constants.HF_HOME, "gregory", pin.repository.replace("/", "--"), pin.revision)
    for name in [*(name for name in small if name in siblings), heaviest]:
        try:
            _fetch_file(pin, siblings[name], folder / name, report)
        except (HTTPError, OSError) as error:
            raise BundleError(_fault(pin, error)) from error
    return folder


def _siblings(pin: Pin) -> dict[str, RepoSibling]:
    try:
        info = HfApi().model_info(pin.repository, revision=pin.revision, files_metadata=True)
    except (HTTPError, OSError) as error:
        raise BundleError(_fault(pin, error)) from error
    if info.sha != pin.revision:
        raise BundleError(f"the hub returned the revision {info.sha} for {_named(pin)}")
    return {sibling.rfilename: sibling for sibling in info.siblings or []}


def _fetch_file(pin: Pin, sibling: RepoSibling, target: Path, report: Report) -> None:
    name, size = sibling.rfilename, sibling.size or 0
    expected = pin.sha256.get(name) or (sibling.lfs.sha256 if sibling.lfs else None)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        cached = try_to_load_from_cache(pin.repository, name, revision=pin.revision)
        if isinstance(cached, str):
            # A copy takes gigabytes, a link to the cache takes no space.
            symlink_or_copy(Path(cached), target)
        else:
            _download(pin, name, size, target, report)
    report(Progress(message=f"checking {name} of {pin.repository}, {size:,} bytes"))
    found = sha256(target) if expected else _blob(target)
    if found not in (expected, sibling.blob_id):
        target.resolve().unlink()
        target.unlink(missing_ok=True)
        raise BundleError(
            f"{name} of {_named(pin)} has the checksum {found} instead of {expected or sibling.blob_id}: "
            "the file was removed, run the command again"
        )


def _download(pin: Pin, name: str, size: int, target: Path, report: Report) -> None:
    partial = target.with_name(f"{target.name}.partial")
    with partial.open("ab") as stream:
        begun = stream.tell()
        if begun > size:
            begun = stream.truncate(0)
        continued = f", continuing at byte {begun:,}" if begun else ""
        report(Progress(message=f"downloading {name} of {pin.repository}, {size:,} bytes{continued}"))
        http_get(
            hf_hub_url(pin.repository, name, revision=pin.revision),
            stream,
            resume_size=begun,
            headers=build_hf_headers(),
            expected_size=size,
            displayed_filename=name,
            tqdm_class=_meter(name, report),
        )
    partial.rename(target)


def _meter(name: str, report: Report, clock: Callable[[], float] = time.monotonic) -> Any:
    """The progress bar for http_get. It reports at most every 5 s, on a terminal and in a pipe."""

    class Meter:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
            self._total, self._done, self._last_reported = total, initial, clock()

        def __enter__(self) -> "Meter":
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def update(self, size: int) -> None:
            self._done += size
            now = clock()
            if self._total and now - self._last_reported >= SECONDS_BETWEEN_REPORTS:
                self._last_reported = now
                report(Progress(message=f"{name}: {self._done:,} of {self._total:,} bytes", fraction=self._done / self._total))

    return Meter


def _blob(path: Path) -> str:
    # Small files are no LFS objects. For them the hub has the checksum of git.
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _named(pin: Pin) -> str:
    return f"{pin.repository} at {pin.revision}"


def _fault(pin: Pin, error: Exception) -> str:
    remedy = _LOCAL.format(option=pin.option)
    # The first two are subclasses of the hub's general HTTP error, which is an HTTPError and an OSError.
    if isinstance(error, RevisionNotFoundError):
        return f"{pin.repository} has no revision {pin.revision} on {constants.ENDPOINT}: check HF_ENDPOINT; {remedy}"
    if isinstance(error, RepositoryNotFoundError | EntryNotFoundError):
        return f"{_named(pin)} is not on {constants.ENDPOINT}: check HF_ENDPOINT; {remedy}"
    if isinstance(error, OSError) and error.errno:
        return f"{_named(pin)} cannot be stored in {constants.HF_HOME}: {error.strerror}; free space there or set HF_HOME"
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"{_named(pin)} cannot be downloaded from {constants.ENDPOINT}: {cause}; run the command again to continue the download; {remedy}"
    )
