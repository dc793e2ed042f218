"""What a fit has reached, in one file: written whole or not at all, and read back only where it belongs.

A file (npz) holds every number that the next epoch depends on (weights, the optimiser's moments, the states of the random
generators, the best weights so far) and, as JSON, what early stopping and the history know.
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
# What NumPy and its zip archives raise for a file that is none, is cut short, or fails a checksum.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class CorruptCheckpoint(Exception):
    """The file cannot be read to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """Where a fit stands after an epoch. epochs: losses of each epoch done; best, best_epoch, wait: early stopping's own; best is None
    before the epoch from which it watches; ended: no epoch is to follow."""

    fingerprint: str
    micro_batch: int
    epochs: tuple[dict[str, float], ...]
    best: float | None
    best_epoch: int
    wait: int
    ended: bool


def fingerprint(train: Encoded, validation: Encoded, **settings: object) -> str:
    """sha256 over what is learned from and how: a checkpoint of another training must not be continued."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for part in (train, validation):
        for sequence in part.token_ids:
            digest.update(np.asarray(sequence, dtype=np.int64).tobytes() + b"|")
        digest.update(part.targets.tobytes())
    return digest.hexdigest()


def read(path: Path) -> CheckpointState | None:
    """What the file says was reached; None where there is no file or it is damaged."""
    try:
        # Opened here, since NumPy leaves a file that is no archive open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            content = json.loads(str(stored[_REACHED]))
    except _DAMAGE:
        return None
    return CheckpointState(**{**content, "epochs": tuple(content["epochs"])})


def micro_batch_of(path: Path) -> int | None:
    """The rows a fit began with, which must be those it continues with: its random numbers are drawn per micro-batch."""
    state = read(path)
    return state.micro_batch if state else None


def write(path: Path, state: CheckpointState, model: Any, best_weights: list[np.ndarray[Any, Any]] | None) -> None:
    """Keep the model's state after an epoch. Raises OSError, and then leaves the previous file as it was."""
    arrays: dict[str, Any] = {_REACHED: np.array(json.dumps(asdict(state)))}
    # Variables, not arrays: NumPy copies them one by one while it writes, and a copy of all would not fit into memory.
    arrays |= {f"{_STATE}{index:05}": variable for index, variable in enumerate(_state(model))}
    # After its best epoch a model's weights are the best weights: once is enough.
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
    """Put a compiled model into the state of the file; the best weights so far, in the order of its `get_weights`.

    Raises Damaged, and then leaves the model as it was.
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
    """Weights, states of random generators, and the optimiser's own, in an order that depends on the network alone."""
    # Sums over micro-batches are zero between epochs.
    moments = [variable for variable in model.optimizer.variables if "gradient_accumulator" not in variable.path]
    return [*model.variables, *moments]


def _save(arrays: dict[str, Any], path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
