"""Another row and version for a complete model that has no version folder yet: its manifest and its model card then state them."""

import re
from pathlib import Path

from gregory.ml.artifacts import MANIFEST, MODEL_CARD, read_manifest
from gregory.ml.config import Algorithm
from gregory.ml.files import checksum, flush, read_text
from gregory.ml.manifest import FileFacts


def state_row(folder: Path, run_log_id: int, version: str) -> None:
    """Make the model in `folder` state this row and version. If the process ends before that, a second call completes the change.

    Files are replaced, not changed, because another folder may have links to them. Raises ArtifactError and OSError as `read_manifest`.
    """
    manifest = read_manifest(folder)
    stated = manifest.provenance.model_copy(update={"run_log_id": run_log_id, "version": version})
    if stated == manifest.provenance:
        return
    files = dict(manifest.files)
    if MODEL_CARD in files:
        card = folder / MODEL_CARD
        _replace(card, _with_version(read_text(card), manifest.algorithm, version))
        digest, size = checksum(card)
        files[MODEL_CARD] = FileFacts(sha256=digest, bytes=size)
    complete = manifest.model_copy(update={"files": files, "provenance": stated})
    _replace(folder / MANIFEST, complete.model_dump_json(indent=2) + "\n")


def _with_version(page: str, algorithm: Algorithm, version: str) -> str:
    """The model card with another version in its title and its head."""
    for before, after in ((f": {algorithm} ", "</title>"), (f'<p class="under">{algorithm}, version ', "</p>")):
        page = re.sub(rf"({re.escape(before)})[A-Za-z0-9._-]+({after})", rf"\g<1>{version}\g<2>", page, count=1)
    return page


def _replace(file: Path, text: str) -> None:
    """Replace a file as a whole. The unfinished copy is outside of the model, so that no model contains it."""
    unfinished = file.parent.with_name(f"{file.parent.name}.{file.name}")
    unfinished.write_text(text, encoding="utf-8")
    flush(unfinished)
    unfinished.replace(file)
    flush(file.parent)
