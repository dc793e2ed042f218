"""The real bundle: BiomedBERT as encoder and BART as summariser, from the hub or from local folders.

The steps are processes (see `worker`). torch converts the models, TensorFlow and CTranslate2 check the result.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from gregory.ml.base_models import Bundle, BundleDescription, BundlePart, describe_files, prepare
from gregory.ml.errors import BundleError
from gregory.ml.files import sha256
from gregory.ml.preparation import worker
from gregory.ml.preparation.hub import fetch
from gregory.ml.preparation.pins import ENCODER, PICKLE, SUMMARISER, WEIGHTS, Pin
from gregory.ml.progress import Report

NAME = "gregory"
_SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Hugging Face folder, and the only file of weights that a conversion reads."""

    folder: Path
    weights: str
    sha256: str


def prepare_real(
    root: Path,
    *,
    report: Report,
    encoder_dir: Path | None = None,
    summariser_dir: Path | None = None,
    encoder_sha256: str = "",
    summariser_sha256: str = "",
    replace_demo: bool = False,
) -> Bundle:
    """The real bundle at `root`. An intact bundle is not changed. Raises BundleError.

    With `encoder_dir` or `summariser_dir` that part is made from a Hugging Face folder, without a download. `encoder_sha256` and
    `summariser_sha256` are checksums of weights that this release does not know.
    """

    def fill(folder: Path) -> BundleDescription:
        _require_torch()
        encoder = source(replace(ENCODER, given=encoder_sha256), encoder_dir, report=report)
        summariser = source(replace(SUMMARISER, given=summariser_sha256), summariser_dir, report=report)
        reference = folder.parent / "reference.npz"
        worker.run("encoder", encoder.folder, folder / "encoder", reference, report=report)
        worker.run("bart", summariser.folder, folder / "summariser", report=report)
        worker.run("check", folder, reference, report=report)
        return BundleDescription(
            name=NAME,
            encoder=_part(
                ENCODER, encoder_dir, encoder, folder / "encoder", "to safetensors by transformers; [CLS] checked against torch."
            ),
            summariser=_part(
                SUMMARISER, summariser_dir, summariser, folder / "summariser", "by CTranslate2, int8 for CPUs, float16 for GPUs."
            ),
        )

    return prepare(root, name=NAME, fill=fill, report=report, replace_demo=replace_demo)


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise BundleError(
            "torch is not installed, and the conversion of the models needs it: run make base-models, "
            "or pip install --require-hashes -r locks/requirements-prepare.lock"
        )


def source(pin: Pin, folder: Path | None, *, report: Report) -> Source:
    """The model of the hub, or of a folder, with weights that may be read. Raises BundleError."""
    found = fetch(pin, small=_SMALL_FILES, report=report) if folder is None else folder.resolve()
    if not found.is_dir():
        raise BundleError(f"{pin.folder_option}: there is no folder {folder}")
    name = next((name for name in WEIGHTS if (found / name).is_file()), None)
    if name is None:
        raise BundleError(f"{pin.folder_option}: {folder} holds none of {', '.join(WEIGHTS)}")
    digest = sha256(found / name)
    if pin.given not in ("", digest):
        raise BundleError(f"{pin.checksum_option} is {pin.given}, but {found / name} has the sha256 {digest}")
    if name == PICKLE and digest not in (pin.given, pin.sha256.get(name)):
        raise BundleError(
            f"{pin.folder_option}: {found / name} is a pickle, which can run code, and this release does not know its sha256 {digest}; "
            f"use a folder with {WEIGHTS[0]}, or compare the value with that of the author and give {pin.checksum_option} {digest}"
        )
    return Source(folder=found, weights=name, sha256=digest)


def _part(pin: Pin, folder: Path | None, source: Source, written: Path, how: str) -> BundlePart:
    """The description of a part. The origin of a local folder is unknown, and only the checksums identify its files."""
    note, files = f"Converted from {source.weights}, sha256 {source.sha256}, {how}", describe_files(written)
    if folder is None:
        return BundlePart(source=pin.repository, revision=pin.revision, licence=pin.licence, note=note, files=files)
    return BundlePart(source=f"the folder {folder.name}", revision="unknown", licence="unknown", note=note, files=files)
