"""The code of an older release, for a reconciler that works beside those of this checkout."""

import subprocess
from pathlib import Path

from tools.installation import REPOSITORY

# The last commit before the packages got their present places.
COMMIT = "bbf93e9"


def unpack(folder: Path) -> Path | None:
    """The checkout of the older release. None if this checkout has no history."""
    folder.mkdir(parents=True)
    archive = folder.with_suffix(".tar")
    made = subprocess.run(["git", "archive", "--output", archive, COMMIT], cwd=REPOSITORY, capture_output=True)
    if made.returncode != 0:
        return None
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", folder], check=True)
    archive.unlink()
    return folder
