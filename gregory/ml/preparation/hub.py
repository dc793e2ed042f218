"""Files of a model on the Hugging Face hub, at one revision. The checksum of each is compared with that of the hub.

HF_ENDPOINT and HF_HOME work as usual. A partial download stays, and the next attempt continues it, which `hf_hub_download` cannot do
across processes. Files in its cache are used. Only this module imports `huggingface_hub`.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
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
from gregory.ml.preparation.pins import WEIGHTS, Pin
from gregory.ml.progress import Progress, Report

SECONDS_BETWEEN_REPORTS = 5.0
_LOCAL = "without a network give the model's folder with {option}"


def fetch(pin: Pin, *, small: Sequence[str], report: Report) -> Path:
    """A folder with the `small` files that the model has, and with its weights. Raises BundleError."""
    # Its warnings about retries and missing tokens have several lines. This module reports the important facts.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    siblings = _siblings(pin)
    heaviest = _weights(pin, siblings)
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


def _weights(pin: Pin, siblings: Mapping[str, RepoSibling]) -> str:
    """The file of weights with a known checksum. No other one is downloaded."""
    offered = {name: _stated(siblings[name]) for name in WEIGHTS if name in siblings}
    if not offered:
        raise BundleError(f"{_named(pin)} holds none of {', '.join(WEIGHTS)}")
    for name, stated in offered.items():
        if stated and stated == pin.known(name):
            return name
    name, stated = next(((name, stated) for name, stated in offered.items() if pin.known(name)), next(iter(offered.items())))
    refused = f"{name} of {_named(pin)} was not downloaded: {constants.ENDPOINT} states {f'the sha256 {stated}' if stated else 'no sha256'}"
    if known := pin.known(name):
        raise BundleError(f"{refused} instead of {known}; check HF_ENDPOINT; {_LOCAL.format(option=pin.folder_option)}")
    raise BundleError(
        f"{refused}, which this release does not know; compare it with https://huggingface.co/{pin.repository}/blob/{pin.revision}/{name} "
        f"and give {pin.checksum_option} with that value"
    )


def _stated(sibling: RepoSibling) -> str:
    return sibling.lfs.sha256 if sibling.lfs else ""


def _fetch_file(pin: Pin, sibling: RepoSibling, target: Path, report: Report) -> None:
    name, size = sibling.rfilename, sibling.size or 0
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        cached = try_to_load_from_cache(pin.repository, name, revision=pin.revision)
        if isinstance(cached, str):
            # A copy takes gigabytes, a link to the cache takes no space.
            symlink_or_copy(Path(cached), target)
        else:
            _download(pin, name, size, target, report)
    report(Progress(message=f"checking {name} of {pin.repository}, {size:,} bytes"))
    digest = sha256(target)
    # The hub states git's checksum of small files and sha256 of large ones. A known checksum is compared with nothing that a hub states.
    known = pin.known(name) or _stated(sibling)
    found, expected = (digest, known) if known else (_blob(target), sibling.blob_id)
    if found != expected:
        target.resolve().unlink()
        target.unlink(missing_ok=True)
        raise BundleError(
            f"{name} of {_named(pin)} has the checksum {found} instead of {expected}: the file was removed, run the command again"
        )
    if not pin.known(name):
        report(Progress(message=f"{name} has the sha256 {digest}, which this release does not compare"))


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
    remedy = _LOCAL.format(option=pin.folder_option)
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
