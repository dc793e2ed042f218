"""Paths in every image of Dockerfile.train, and the folders of the models that a run mounts. All back ends use them."""

from pathlib import Path

from gregory.env import SSL_CERTIFICATE, SSL_KEY, SSL_ROOT_CERTIFICATE
from gregory.runs.spec import RunKind, RunSpec

PROJECT_IN_IMAGE = "/home/brunoamaral/gregory-ai/django"
BASE_MODELS_IN_IMAGE = "/opt/base-models"
MODELS_IN_IMAGE = f"{PROJECT_IN_IMAGE}/models"
# It makes the folder of the subject, the only one that a run mounts, and mounts all models for that. It has no credentials.
PREPARE_COMMAND = ("dumb-init", "--", "python", "-m", "job.prepare")
# The files of the connection to the database, by the variables that name them.
DATABASE_FILES_IN_IMAGE = {
    SSL_ROOT_CERTIFICATE: "/etc/gregory-database/ca.crt",
    SSL_CERTIFICATE: "/etc/gregory-database/client.crt",
    SSL_KEY: "/etc/gregory-database/client.key",
}


def mounted_folders(spec: RunSpec) -> list[tuple[str, bool]]:
    """The folders that a run mounts, relative to the models folder, each with whether it only reads it.

    A rename between two mounts of one volume is impossible, and a training publishes with a rename. A prediction writes into its
    working folder only.
    """
    if spec.work is not RunKind.PREDICT:
        return [(spec.place, False)]
    return [(spec.place, True), (spec.folder(Path()).path.as_posix(), False)]
