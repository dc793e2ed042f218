"""Algorithm names -> where their trainers live, as strings, so that a name costs no import of a training library."""

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
    return cast(type[Trainer], getattr(import_module(module), name))
