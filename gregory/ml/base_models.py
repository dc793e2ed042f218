"""The bundle of base models: its description, its checks and its installation.

A bundle is a folder with `encoder/`, `summariser/` and `bundle.json`. That file has the size and sha256 of every file. Runs work
offline. `gregory.ml.preparation` makes the parts. Trainers and summarisers load them.
"""

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gregory.ml.errors import BundleError
from gregory.ml.files import flush, flush_tree, is_of_volume, let_all_read, sha256, try_lock
from gregory.ml.progress import Progress, Report
from gregory.ml.storage import write_trial

REMEDY = "run: python manage.py prepare_base_models (with --demo for the small bundle; or copy a prepared one there)"
DESCRIPTION_FILE = "bundle.json"
PARTS = ("encoder", "summariser")
DEMO_NAME = "demo"
_STAGING = ".prepared-"
_LOCK_POLL_SECONDS = 0.1

# Plain names, at most one folder deep. So a description cannot name a file outside its bundle.
_PLAIN = "[A-Za-z0-9_][A-Za-z0-9._-]*"
FileName = Annotated[str, Field(pattern=rf"^{_PLAIN}(/{_PLAIN})?$")]
Model = TypeVar("Model", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BundleFile(_Section):
    """One file: its sha256 in hexadecimal and its size."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class BundlePart(_Section):
    """The source, revision and licence of one model, and its files."""

    source: str
    revision: str
    licence: str
    note: str = ""
    files: Annotated[dict[FileName, BundleFile], Field(min_length=1)]


class BundleDescription(_Section):
    """The content of bundle.json. `name` distinguishes the demo bundle from the real one."""

    schema_number: Literal[1] = 1
    name: str
    encoder: BundlePart
    summariser: BundlePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on disk."""

    root: Path
    encoder_dir: Path
    summariser_dir: Path
    description: BundleDescription

    def digest(self) -> str:
        """sha256 of bundle.json, which contains the checksum of every other file."""
        return sha256(self.root / DESCRIPTION_FILE)


def read_settings(path: Path, model: type[Model]) -> Model:
    """Read a JSON file of a bundle as a pydantic model. Raises BundleError with the file, the key and the remedy."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; {REMEDY}") from error
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {key + ': ' if key else ''}{first['msg']}; {REMEDY}") from error


def open_bundle(root: Path) -> Bundle:
    """The bundle at `root`. Only presence and size of its files are checked. Raises BundleError with the remedy."""
    if not root.is_dir():
        raise BundleError(f"there is no base-model bundle: the folder {root} does not exist; {REMEDY}")
    description = read_settings(root / DESCRIPTION_FILE, BundleDescription)
    bundle = Bundle(root=root, encoder_dir=root / "encoder", summariser_dir=root / "summariser", description=description)
    for path, expected in _files(bundle):
        if not path.is_file():
            raise BundleError(f"{path} is missing; {REMEDY}")
        size = path.stat().st_size
        if size != expected.bytes:
            raise BundleError(f"{path} has {size} bytes instead of {expected.bytes}; {REMEDY}")
    return bundle


def verify_bundle(root: Path, *, digest: str = "") -> Bundle:
    """The bundle at `root`. Every byte is checked. Raises BundleError with the remedy.

    digest: the expected sha256 of bundle.json. Empty: any bundle.
    """
    bundle = open_bundle(root)
    if digest and (found := bundle.digest()) != digest:
        raise BundleError(
            f"{root / DESCRIPTION_FILE} has sha256 {found} and GREGORY_BASE_MODELS_DIGEST requires {digest}: it is another bundle; "
            "use the required bundle, or correct the digest"
        )
    for path, expected in _files(bundle):
        found = sha256(path)
        if found != expected.sha256:
            raise BundleError(f"{path} has sha256 {found} instead of {expected.sha256}; {REMEDY}")
    return bundle


def describe_files(folder: Path) -> dict[str, BundleFile]:
    """Size and sha256 of every file of one part, for BundlePart."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): BundleFile(sha256=sha256(path), bytes=path.stat().st_size) for path in paths}


def prepare(root: Path, *, name: str, fill: Callable[[Path], BundleDescription], report: Report, replace_demo: bool = False) -> Bundle:
    """The bundle at `root`. If there is none, `fill` makes it.

    `fill` writes the parts into the given folder and returns their description with the name `name`. An intact bundle is not
    changed, and a damaged bundle of that name is replaced. Another bundle replaces a demo bundle only with `replace_demo`. The
    bundle is made in a hidden folder inside `root`, which may be the place of a volume. Then its parts are moved. Raises BundleError.
    """
    try:
        present = _present(root, name, replace_demo)
        if present:
            report(Progress(message=f"{root} holds an intact bundle, {present.description.name}: nothing to do"))
            return present
        if not root.parent.is_dir():
            # It may be a volume that is not mounted.
            raise BundleError(f"{root.parent} does not exist, so the bundle {root.name} cannot be made there; mount its volume, or make it")
        with _made(root), _staging(root) as staging:
            with _locked(root):
                # A preparation that begins now would take the trial for the folder of a killed one.
                _try_to_publish(root, staging)
            staged = staging / "bundle"
            staged.mkdir()
            description = fill(staged)
            (staged / DESCRIPTION_FILE).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
            let_all_read(staged)
            with _locked(root):
                # Another process may have finished first. Its bundle is equal and may be in use.
                if not _present(root, name, replace_demo):
                    _publish(staged, root, staging / "replaced")
    except OSError as error:
        raise BundleError(f"the bundle {root} cannot be written: {error}") from error
    report(Progress(message=f"the {name} bundle is ready in {root}"))
    return open_bundle(root)


def _present(root: Path, name: str, replace_demo: bool) -> Bundle | None:
    """The intact bundle at `root`, or None if a bundle `name` may take its place. Raises BundleError if that would destroy files."""
    if not root.exists():
        return None
    damage: BundleError | None = None
    try:
        bundle = verify_bundle(root)
    except BundleError as error:
        damage = error
    else:
        if bundle.description.name != DEMO_NAME or name == DEMO_NAME:
            return bundle
    foreign = sorted({path.name for path in root.iterdir() if not is_of_volume(path.name)} - {DESCRIPTION_FILE, *PARTS})
    if foreign:
        raise BundleError(f"{root} is no base-model bundle, it holds {foreign[0]}: choose another folder or empty it")
    claimed = _claimed_name(root)
    if claimed in (None, name) or (claimed == DEMO_NAME and replace_demo):
        return None
    if claimed == DEMO_NAME:
        raise BundleError(f"{root} holds the demo bundle: give --replace-demo to put the {name} bundle in its place")
    raise BundleError(
        f"{root} holds the damaged bundle {claimed!r}: copy it there again, or remove the folder for the {name} bundle"
    ) from damage


def _claimed_name(root: Path) -> object:
    # Less strict than BundleDescription, so that a bundle of a later schema does not count as a damaged bundle.
    try:
        value = json.loads((root / DESCRIPTION_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return value.get("name") if isinstance(value, dict) else None


@contextmanager
def _made(root: Path) -> Iterator[None]:
    """Make the folder if it is missing. It is removed again if it stays empty."""
    try:
        root.mkdir()
        let_all_read(root)
    except FileExistsError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            root.rmdir()


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A hidden folder inside `root`. The folders of killed preparations are removed first."""
    with _locked(root):
        for left in root.glob(f"{_STAGING}*"):
            _remove_unless_used(left)
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))
        owner = os.open(folder, os.O_RDONLY)
        try_lock(owner)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for the lock of the folder. A file system without locks gives none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while try_lock(descriptor) is False:
            time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _remove_unless_used(folder: Path) -> None:
    """Remove the folder of a killed preparation. Without locks, nobody knows whether its process lives, so it stays."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        # A preparation that ends removes its folder without the lock of the place.
        return
    try:
        if try_lock(descriptor):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _try_to_publish(root: Path, staging: Path) -> None:
    """Try the last step before hours of work. Raises OSError if it fails."""
    for name in PARTS:
        # The part of a damaged bundle must be moved away. A mount cannot be moved.
        if (root / name).is_mount():
            raise OSError(errno.EBUSY, "a volume is mounted there; mount it one folder higher", str(root / name))
    place = root / f"{staging.name}.trial"
    write_trial(staging).rename(place)
    shutil.rmtree(place)


def _publish(staged: Path, root: Path, replaced: Path) -> None:
    """Move the parts to their places. Only a folder with the description counts as a bundle, so that leaves first and comes last."""
    flush_tree(staged)
    replaced.mkdir()
    for name in (DESCRIPTION_FILE, *PARTS):
        with suppress(FileNotFoundError):
            (root / name).rename(replaced / name)
    flush(root)
    for name in (*PARTS, DESCRIPTION_FILE):
        (staged / name).rename(root / name)
        flush(root)


def _files(bundle: Bundle) -> list[tuple[Path, BundleFile]]:
    parts = ((bundle.encoder_dir, bundle.description.encoder), (bundle.summariser_dir, bundle.description.summariser))
    return [(folder / name, expected) for folder, part in parts for name, expected in part.files.items()]
