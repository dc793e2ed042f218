"""Pickles that make a folder when a program reads them, in the places of a LightGBM model's joblib files."""

import os
import pickle
from pathlib import Path

from gregory.ml import artifacts

PICKLES = ("lgbm_classifier.joblib", "tfidf_vectorizer.joblib")


class Payload:
    """An object whose unpickling makes the folder `effect`."""

    def __init__(self, effect: Path) -> None:
        self._effect = effect

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._effect),)


def plant(folder: Path, effect: Path) -> None:
    """Replace the pickles of a version folder, and its manifest with one that has their checksums."""
    for name in PICKLES:
        (folder / name).write_bytes(pickle.dumps(Payload(effect)))
    reseal(folder)


def reseal(folder: Path) -> None:
    """Write the manifest again with the checksums of the present files."""
    described = artifacts.read_manifest(folder)
    (folder / artifacts.MANIFEST).unlink()
    artifacts.write_manifest(folder, described)
