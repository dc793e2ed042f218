"""Load a published model, or refuse it with the reason."""

from pathlib import Path

import numpy as np

from gregory.ml.artifacts import read_manifest, verify
from gregory.ml.errors import ArtifactError
from gregory.ml.registry import trainer_class
from gregory.ml.resources import cpu_count
from gregory.ml.text import require_version
from gregory.ml.trainers.base import TrainedModel


def load_model(folder: Path) -> TrainedModel:
    """The model of a version folder. No file outside the folder is read.

    Raises ArtifactError in three cases: a file is missing or changed, the model was trained on texts of another version, or the
    model gives its probe texts other probabilities than before its publication. Raises OSError if a file cannot be read.
    """
    problems = verify(folder)
    if problems:
        raise ArtifactError("; ".join(problems))
    manifest = read_manifest(folder)
    require_version(
        manifest.data.text_version,
        subject=f"{folder}: the model",
        remedy="train the subject again, or load the model with the release that trained it",
    )
    model = trainer_class(manifest.algorithm).model_class.load(folder, threads=cpu_count())
    probabilities = model.predict_proba(manifest.probe.texts)
    moved = float(np.max(np.abs(probabilities - np.array(manifest.probe.probabilities)), initial=0.0))
    if not moved <= manifest.probe.tolerance:
        raise ArtifactError(
            f"{folder}: the model gives its probe texts other probabilities than after training (differences up to {moved:.4f}); "
            f"it was trained with {manifest.libraries}, and other libraries loaded it, or it is damaged: "
            "train the subject again, or load the model with those versions"
        )
    return model
