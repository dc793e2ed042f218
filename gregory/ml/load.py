"""Load a published model, or refuse it with the reason. Loading runs no code of the folder."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from gregory.ml.artifacts import read_manifest, verify
from gregory.ml.errors import ArtifactError, TrainingError
from gregory.ml.registry import trainer_class
from gregory.ml.resources import cpu_count
from gregory.ml.text import require_version
from gregory.ml.trainers.base import TrainedModel


def load_model(folder: Path, *, digest: str = "", allow_pickle: bool = False) -> TrainedModel:
    """The model of a version folder. No other folder is read. Ask it with texts of the text version in its manifest.

    The files are copied into a private temporary folder while they are compared with the manifest, and loaded from there. So a later
    change of the folder has no effect.

    digest: the expected sha256 of manifest.json. Empty: not compared, and then a forged folder can be loaded.
    allow_pickle: accept a LightGBM model of an older release, which is saved as pickles only. A pickle can execute any code.

    Raises ArtifactError in five cases: a file is missing or changed, the manifest has another digest, the model was trained on texts of
    an unknown version, it is saved as pickles only, or it gives its probe texts other probabilities than before its publication.
    Raises OSError if a file cannot be read, or the temporary folder is full.
    """
    with TemporaryDirectory() as temporary:
        copy = Path(temporary)
        problems = verify(folder, recorded=digest, copy=copy)
        if problems:
            raise ArtifactError("; ".join(problems))
        try:
            return _load(copy, allow_pickle=allow_pickle)
        except TrainingError as error:
            raise type(error)(str(error).replace(temporary, str(folder))) from error


def load_saved(folder: Path) -> TrainedModel:
    """As `load_model`, without a copy: for the process that has just written the folder."""
    problems = verify(folder)
    if problems:
        raise ArtifactError("; ".join(problems))
    return _load(folder)


def _load(folder: Path, *, allow_pickle: bool = False) -> TrainedModel:
    manifest = read_manifest(folder)
    require_version(
        manifest.data.text_version,
        subject=f"{folder}: the model",
        remedy="train the subject again, or load the model with the release that trained it",
    )
    model_class = trainer_class(manifest.algorithm).model_class
    if allow_pickle and manifest.algorithm == "lgbm_tfidf":
        from gregory.ml.trainers import lgbm_pickles

        lgbm_pickles.convert(folder)
    model = model_class.load(folder, threads=cpu_count())
    probabilities = model.predict_proba(manifest.probe.texts)
    moved = float(np.max(np.abs(probabilities - np.array(manifest.probe.probabilities)), initial=0.0))
    if not moved <= manifest.probe.tolerance:
        raise ArtifactError(
            f"{folder}: the model gives its probe texts other probabilities than after training (differences up to {moved:.4f}); "
            f"it was trained with {manifest.libraries}, and other libraries loaded it, or it is damaged: "
            "train the subject again, or load the model with those versions"
        )
    return model
