"""Weight files in Keras' own format, with any file name."""

import tempfile
from pathlib import Path
from typing import Any

from gregory.ml._keras.runtime import keras, release_memory
from gregory.ml.errors import ArtifactError
from gregory.ml.files import symlink_or_copy

_SUFFIX = ".weights.h5"  # Keras uses its legacy format for all other names


def without_optimiser(model: Any) -> Any:
    """The same network with the same variables, and without the moments of the optimiser: three times its memory."""
    return keras.Model(model.input, model.output, name=model.name)


def save_weights(model: Any, path: Path) -> None:
    """Write the model's weights to `path` without the moments of the optimiser."""
    release_memory()
    temporary = path.with_name(path.stem + _SUFFIX)
    # Keras writes the name into the file. A generated name contains a number that rises with every save.
    without_optimiser(model).save_weights(temporary)
    temporary.replace(path)


def load_weights(model: Any, path: Path) -> None:
    """Load weights that `save_weights` wrote into a model of the same shape. Raises ArtifactError if they do not fit."""
    release_memory()
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, path.stem + _SUFFIX)
        symlink_or_copy(path, link)
        try:
            keras.Model(model.input, model.output).load_weights(link)
        except (OSError, ValueError, KeyError) as error:
            raise ArtifactError(f"{path} does not hold the weights of this network: {error}; train the model again") from error
