"""The trainers by algorithm. The table has strings, so that reading it imports no training library."""

from importlib import import_module
from typing import cast

from gregory.collector import without_collector
from gregory.ml.config import Algorithm
from gregory.ml.trainers.base import Trainer

TRAINERS: dict[Algorithm, str] = {
    "pubmed_bert": "gregory.ml.trainers.bert:BertTrainer",
    "lgbm_tfidf": "gregory.ml.trainers.lgbm:LgbmTrainer",
    "lstm": "gregory.ml.trainers.lstm:LstmTrainer",
}


def trainer_class(algorithm: Algorithm) -> type[Trainer]:
    """Import the trainer of an algorithm. Its libraries are loaded now."""
    module, _, name = TRAINERS[algorithm].partition(":")
    with without_collector():
        return cast(type[Trainer], getattr(import_module(module), name))
