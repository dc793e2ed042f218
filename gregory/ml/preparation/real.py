"""The real bundle: BiomedBERT as encoder and BART as summariser, from the hub or from local folders.

The steps are processes (see `worker`). torch converts the models, TensorFlow and CTranslate2 check the result.
"""

from importlib.util import find_spec
from pathlib import Path

from gregory.ml.base_models import Bundle, BundleDescription, BundlePart, describe_files, prepare
from gregory.ml.errors import BundleError
from gregory.ml.preparation import worker
from gregory.ml.preparation.hub import Pin, fetch
from gregory.ml.progress import Report

NAME = "gregory"
ENCODER = Pin(
    repository="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
    revision="e1354b7a3a09615f6aba48dfad4b7a613eef7062",
    licence="MIT",
    option="--encoder-dir",
    sha256={},
)
SUMMARISER = Pin(
    repository="facebook/bart-large-cnn",
    revision="37f520fa929c961707657b28798b30c003dd100b",
    licence="MIT",
    option="--summariser-dir",
    sha256={"model.safetensors": "40041830399afb5348525ef8354b007ecec4286fdf3524f7e6b54377e17096cb"},
)

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
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def prepare_real(
    root: Path,
    *,
    report: Report,
    encoder_dir: Path | None = None,
    summariser_dir: Path | None = None,
    replace_demo: bool = False,
) -> Bundle:
    """The real bundle at `root`. An intact bundle is not changed. Raises BundleError.

    With `encoder_dir` or `summariser_dir` that part is made from a Hugging Face folder, without a download.
    """

    def fill(folder: Path) -> BundleDescription:
        _require_torch()
        encoder = _source(ENCODER, encoder_dir, report)
        summariser = _source(SUMMARISER, summariser_dir, report)
        reference = folder.parent / "reference.npz"
        worker.run("encoder", encoder, folder / "encoder", reference, report=report)
        worker.run("bart", summariser, folder / "summariser", report=report)
        worker.run("check", folder, reference, report=report)
        return BundleDescription(
            name=NAME,
            encoder=_part(
                ENCODER, encoder_dir, folder / "encoder", "Converted to safetensors by transformers; [CLS] checked against torch."
            ),
            summariser=_part(
                SUMMARISER, summariser_dir, folder / "summariser", "Converted by CTranslate2, int8 for CPUs, float16 for GPUs."
            ),
        )

    return prepare(root, name=NAME, fill=fill, report=report, replace_demo=replace_demo)


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise BundleError(
            "torch is not installed, and the conversion of the models needs it: run make base-models, "
            "or pip install --require-hashes -r locks/requirements-prepare.lock"
        )


def _source(pin: Pin, folder: Path | None, report: Report) -> Path:
    if folder is None:
        return fetch(pin, small=_SMALL_FILES, weights=_WEIGHTS, report=report)
    if not folder.is_dir():
        raise BundleError(f"{pin.option}: there is no folder {folder}")
    if not any((folder / name).is_file() for name in _WEIGHTS):
        raise BundleError(f"{pin.option}: {folder} holds none of {', '.join(_WEIGHTS)}")
    return folder.resolve()


def _part(pin: Pin, folder: Path | None, written: Path, note: str) -> BundlePart:
    """The description of a part. The origin of a local folder is unknown, and only the checksums identify its files."""
    if folder is None:
        return BundlePart(source=pin.repository, revision=pin.revision, licence=pin.licence, note=note, files=describe_files(written))
    return BundlePart(source=f"the folder {folder.name}", revision="unknown", licence="unknown", note=note, files=describe_files(written))
