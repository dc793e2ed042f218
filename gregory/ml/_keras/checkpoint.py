"""The checkpoint of a fit: one file, replaced as a whole, and used only by a fit with the same fingerprint.

The file (npz) holds every number that the next epoch depends on: weights, moments of the optimiser, states of the random generators
and the best weights so far. It also holds the state of early stopping and the history as JSON.
"""

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from gregory.ml._keras.batching import Encoded
from gregory.ml._keras.runtime import tf
from gregory.ml.errors import DamagedFile

_PIECE = 2**20  # bytes
_REACHED, _STATE, _BEST = "reached", "state", "best"
# The errors of NumPy and its zip archives for a missing, cut or damaged file.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class CorruptCheckpoint(Exception):
    """The checkpoint file cannot be read completely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """The state of a fit after an epoch.

    epochs: losses of each completed epoch. best, best_epoch, wait: state of early stopping; best is None before its first epoch.
    ended: no epoch follows.
    """

    fingerprint: str
    micro_batch: int
    epochs: tuple[dict[str, float], ...]
    best: float | None
    best_epoch: int
    wait: int
    ended: bool


def fingerprint(train: Encoded, validation: Encoded, **settings: object) -> str:
    """sha256 of the examples and the settings. A fit with another fingerprint must not use the checkpoint."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for part in (train, validation):
        for sequence in part.token_ids:
            digest.update(np.asarray(sequence, dtype=np.int64).tobytes() + b"|")
        digest.update(part.targets.tobytes())
    return digest.hexdigest()


def read(path: Path) -> CheckpointState | None:
    """The state in the file, or None if the file is missing or damaged."""
    try:
        with ExitStack() as files:
            content = json.loads(str(_opened(path, files)[_REACHED]))
    except _DAMAGE:
        return None
    return CheckpointState(**{**content, "epochs": tuple(content["epochs"])})


def micro_batch_of(path: Path) -> int | None:
    """The micro-batch of the interrupted fit. It must stay the same, because random numbers are drawn per micro-batch."""
    state = read(path)
    return state.micro_batch if state else None


def write(path: Path, state: CheckpointState, model: Any, held: list[np.ndarray[Any, Any]] | None = None) -> None:
    """Write the state of the model after an epoch.

    The best weights are those of the model after the best epoch, else `held`, else those of the previous file. Only one array is in memory
    at a time, because two copies of a BERT would not fit into 4 GB. Raises OSError, or CorruptCheckpoint if the previous file has to be
    read and is damaged. Then the previous file remains unchanged.
    """
    arrays: dict[str, Any] = {_REACHED: np.array(json.dumps(asdict(state)))}
    arrays |= {f"{_STATE}{index:05}": _Variable(variable) for index, variable in enumerate(_state(model))}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial")
    try:
        with ExitStack() as files:
            # After the best epoch the weights of the model are the best weights, so they are written once.
            if state.best is not None and state.best_epoch + 1 != len(state.epochs):
                best = held if held is not None else _best(_opened(path, files), model)
                arrays |= {f"{_BEST}{index:05}": weights for index, weights in enumerate(best)}
            _save(arrays, unfinished)
        unfinished.replace(path)
    except _DAMAGE as error:
        with suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError):
            raise
        raise CorruptCheckpoint(str(error)) from error


def restore(path: Path, model: Any) -> None:
    """Set a compiled model to the state of the file.

    Raises CorruptCheckpoint, and then the model remains unchanged. Raises OSError if the file cannot be read a second time.
    """
    with ExitStack() as files:
        try:
            stored = _opened(path, files)
            for name in stored.files:
                # This compares the checksum. All arrays at once would not fit into memory, so they are read again below.
                stored[name]
        except _DAMAGE as error:
            raise CorruptCheckpoint(str(error)) from error
        model.optimizer.build(model.trainable_variables)
        for variable, name in zip(_state(model), _names(stored, _STATE), strict=True):
            variable.assign(stored[name])


def restore_best(path: Path, model: Any) -> None:
    """Set the weights of a model to the best weights of the file. Raises DamagedFile."""
    try:
        with ExitStack() as files:
            for variable, weights in zip(model.weights, _best(_opened(path, files), model), strict=True):
                variable.assign(np.asarray(weights))
    except _DAMAGE as error:
        raise DamagedFile(f"{path} does not hold the weights of the best epoch: {error}; check the disk, and train again") from error


class _Stored:
    """An array of a file. It is read when NumPy asks for its numbers."""

    def __init__(self, stored: Any, name: str) -> None:
        self._stored, self._name = stored, name

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self._stored[self._name], dtype=dtype)

    def copy_to(self, target: IO[bytes]) -> None:
        """Copy the array with its header. This compares the checksum."""
        with self._stored.zip.open(f"{self._name}.npy") as source:
            shutil.copyfileobj(source, target, _PIECE)


class _Variable:
    """A variable whose numbers NumPy reads in place. Keras would copy them, and the word vectors of BERT-base have 90 MiB."""

    def __init__(self, variable: Any) -> None:
        self._variable = variable

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(memoryview(tf.convert_to_tensor(self._variable)), dtype=dtype)


def _opened(path: Path, files: ExitStack) -> Any:
    """The arrays of the file until `files` are closed. NumPy reads each when it is asked for."""
    # The file is opened here, because NumPy does not close a file that is not an archive.
    return files.enter_context(np.load(files.enter_context(path.open("rb")), allow_pickle=False))


def _names(stored: Any, kind: str) -> list[str]:
    return sorted(name for name in stored.files if name.startswith(kind))


def _best(stored: Any, model: Any) -> list[_Stored]:
    """The best weights of a file, in the order of the weights of the model."""
    positions = {id(variable): index for index, variable in enumerate(_state(model))}
    names = _names(stored, _BEST) or [f"{_STATE}{positions[id(weight)]:05}" for weight in model.weights]
    return [_Stored(stored, name) for name in names]


def _state(model: Any) -> list[Any]:
    """Weights, states of the random generators, and variables of the optimiser. Only the network determines their order."""
    # Accumulated gradients are zero between epochs.
    moments = [variable for variable in model.optimizer.variables if "gradient_accumulator" not in variable.path]
    return [*model.variables, *moments]


def _save(arrays: dict[str, Any], path: Path) -> None:
    """Write a file as NumPy's savez does, and copy the bytes of a stored array without making it."""
    with path.open("wb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
                    if isinstance(array, _Stored):
                        array.copy_to(target)
                    else:
                        np.lib.format.write_array(target, np.asanyarray(array), allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
