"""Base models for runs with scripted work: the run verifies their bytes, and no stage loads them."""

import json
from hashlib import sha256
from pathlib import Path

PARTS = ("encoder", "summariser")
CONTENT = b"nothing"


def write(folder: Path) -> Path:
    """Write the bundle and return its folder."""
    description = {
        "source": "placeholder of the chaos runs",
        "revision": "1",
        "licence": "none needed",
        "files": {"nothing": {"sha256": sha256(CONTENT).hexdigest(), "bytes": len(CONTENT)}},
    }
    for part in PARTS:
        (folder / part).mkdir(parents=True)
        (folder / part / "nothing").write_bytes(CONTENT)
    bundle = {"schema_number": 1, "name": "chaos", **dict.fromkeys(PARTS, description)}
    (folder / "bundle.json").write_text(json.dumps(bundle), encoding="utf-8")
    return folder
