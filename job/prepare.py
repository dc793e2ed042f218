"""`python -m job.prepare`: make the working folder of a run, in a container of its own before that of the run.

That container mounts all models, and the run only the folder of its subject. It reads nothing but the specification, and no database.
"""

import sys

from gregory.env import MODELS_DIR
from gregory.ml import models_folder, storage
from gregory.runs import exit_codes
from job.specification import specification


def main() -> int:
    """The exit code: SUCCESS, FAILURE with one line of the cause and its remedy, or USAGE without a usable specification."""
    spec = specification()
    if spec is None:
        return exit_codes.USAGE
    folder = spec.folder(MODELS_DIR)
    try:
        folder.make()
    except OSError as error:
        sys.stderr.write(f"{storage.refused(MODELS_DIR, models_folder.nearest(MODELS_DIR, folder.path), error)}\n")
        return exit_codes.FAILURE
    return exit_codes.SUCCESS


if __name__ == "__main__":
    sys.exit(main())
