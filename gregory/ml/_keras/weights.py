"""Weight files in Keras' own format, under whatever name they shall have."""

import tempfile
from pathlib import Path
from typing import Any

from gregory.ml._keras.runtime import keras
from gregory.ml.errors import ArtifactError

_SUFFIX = ".weights.h5"  # Keras takes any other name for its legacy format


def save_weights(model: Any, path: Path) -> None:
    """Write the model's weights to `path`, whatever its name, without the optimiser's moments."""
    temporary = path.with_name(path.stem + _SUFFIX)
    # The name is written into the file; a generated one would count up with every save.
    keras.Model(model.input, model.output, name=model.name).save_weights(temporary)
    temporary.replace(path)


def load_weights(model: Any, path: Path) -> None:
    """Read weights written by `save_weights` into a model of the same shape. Raises ArtifactError where they do not fit."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, path.stem + _SUFFIX)
        link.symlink_to(path.resolve())
        try:
            keras.Model(model.input, model.output).load_weights(link)
        except (OSError, ValueError, KeyError) as error:
            raise ArtifactError(f"{path} does not hold the weights of this network: {error}; train the model again") from error
