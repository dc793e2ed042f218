"""A published model back in memory, or a clear refusal."""

from pathlib import Path

import numpy as np

from gregory.ml.artifacts import read_manifest, verify
from gregory.ml.errors import ArtifactError
from gregory.ml.registry import trainer_class
from gregory.ml.resources import cpu_count
from gregory.ml.trainers.base import TrainedModel


def load_model(folder: Path) -> TrainedModel:
    """The model of a version folder, from the folder alone.

    Raises ArtifactError where a file is missing or changed, or where the model no longer gives its probe texts the
    probabilities it was sealed with.
    """
    problems = verify(folder)
    if problems:
        raise ArtifactError("; ".join(problems))
    manifest = read_manifest(folder)
    model = trainer_class(manifest.algorithm).model_class.load(folder, threads=cpu_count())
    probabilities = model.predict_proba(manifest.probe.texts)
    moved = float(np.max(np.abs(probabilities - np.array(manifest.probe.probabilities)), initial=0.0))
    if not moved <= manifest.probe.tolerance:
        raise ArtifactError(
            f"{folder}: the model answers its probe texts otherwise than when it was trained (by up to {moved:.4f}); "
            f"trained with {manifest.libraries}, loaded with other libraries or damaged: retrain, or load it with those versions"
        )
    return model
