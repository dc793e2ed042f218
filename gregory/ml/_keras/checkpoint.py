"""The checkpoint of a fit: one file, replaced as a whole, and used only by a fit with the same fingerprint.

The file (npz) holds every number that the next epoch depends on: weights, moments of the optimiser, states of the random generators
and the best weights so far. It also holds the state of early stopping and the history as JSON.
"""

import hashlib
import json
import os
import zipfile
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gregory.ml._keras.batching import Encoded

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
        # The file is opened here, because NumPy does not close a file that is not an archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            content = json.loads(str(stored[_REACHED]))
    except _DAMAGE:
        return None
    return CheckpointState(**{**content, "epochs": tuple(content["epochs"])})


def micro_batch_of(path: Path) -> int | None:
    """The micro-batch of the interrupted fit. It must stay the same, because random numbers are drawn per micro-batch."""
    state = read(path)
    return state.micro_batch if state else None


def write(path: Path, state: CheckpointState, model: Any, best_weights: list[np.ndarray[Any, Any]] | None) -> None:
    """Write the state of the model after an epoch. Raises OSError, and then the previous file remains unchanged."""
    arrays: dict[str, Any] = {_REACHED: np.array(json.dumps(asdict(state)))}
    # NumPy copies the variables one by one while it writes. A copy of all at once would not fit into memory.
    arrays |= {f"{_STATE}{index:05}": variable for index, variable in enumerate(_state(model))}
    # After the best epoch the weights of the model are the best weights, so they are written once.
    if best_weights is not None and state.best_epoch + 1 != len(state.epochs):
        arrays |= {f"{_BEST}{index:05}": weights for index, weights in enumerate(best_weights)}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial")
    try:
        _save(arrays, unfinished)
        unfinished.replace(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


def restore(path: Path, model: Any) -> list[np.ndarray[Any, Any]]:
    """Set a compiled model to the state of the file. Returns the best weights so far, in the order of its `get_weights`.

    Raises CorruptCheckpoint, and then the model remains unchanged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            state, best = ([stored[name] for name in sorted(stored) if name.startswith(kind)] for kind in (_STATE, _BEST))
    except _DAMAGE as error:
        raise CorruptCheckpoint(str(error)) from error
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(_state(model), state, strict=True):
        variable.assign(value)
    return best or list(model.get_weights())


def _state(model: Any) -> list[Any]:
    """Weights, states of the random generators, and variables of the optimiser. Only the network determines their order."""
    # Accumulated gradients are zero between epochs.
    moments = [variable for variable in model.optimizer.variables if "gradient_accumulator" not in variable.path]
    return [*model.variables, *moments]


def _save(arrays: dict[str, Any], path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
