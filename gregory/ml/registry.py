"""Algorithm names -> where their trainers live, as strings, so that a name costs no import of a training library."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import cast

from gregory.ml.config import Algorithm
from gregory.ml.trainers.base import Trainer

TRAINERS: dict[Algorithm, str] = {
    "pubmed_bert": "gregory.ml.trainers.bert:BertTrainer",
    "lgbm_tfidf": "gregory.ml.trainers.lgbm:LgbmTrainer",
    "lstm": "gregory.ml.trainers.lstm:LstmTrainer",
}


def trainer_class(algorithm: Algorithm) -> type[Trainer]:
    """Import the trainer of an algorithm; this is the moment its libraries load."""
    module, _, name = TRAINERS[algorithm].partition(":")
    with _without_collector():
        return cast(type[Trainer], getattr(import_module(module), name))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Libraries make thousands of modules and no garbage: to look for it among them again and again is a quarter of their import."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
