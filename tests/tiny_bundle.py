"""A bundle that trains in seconds: a BERT of two layers, the leading-sentences summariser, and checksums."""

import hashlib
import json
from pathlib import Path

from tests.ml.tiny_models import tiny_encoder


def tiny_bundle(root: Path) -> Path:
    """Write the bundle to `root` and return `root`."""
    (root / "encoder").mkdir(parents=True)
    tiny_encoder(root / "encoder")
    (root / "summariser").mkdir()
    (root / "summariser" / "summariser.json").write_text(json.dumps({"kind": "leading_sentences", "words": 60}))
    describe(root)
    # Containers read it as another user. safetensors writes files that only the owner can read.
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return root


def describe(root: Path) -> None:
    """Write bundle.json for the files in `root`."""
    description = {"schema_number": 1, "name": "tiny", **{part: _part(root / part) for part in ("encoder", "summariser")}}
    (root / "bundle.json").write_text(json.dumps(description))


def _part(folder: Path) -> dict[str, object]:
    files = {
        path.relative_to(folder).as_posix(): {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {"source": "made by the tests", "revision": "1", "licence": "none needed", "files": files}
