"""The libraries of a training, imported in one step: docs/decisions/0036-start-of-a-stage.md."""

import gc
from importlib import import_module

from gregory.collector import without_collector
from gregory.ml.config import Algorithm
from gregory.ml.imports import hidden
from gregory.ml.registry import trainer_class
from gregory.ml.trainers.base import Trainer

# The stage, the split, the metrics, the baseline and the model card import them when they use them.
_SHARED = (
    *("gregory.ml.baseline", "gregory.ml.evaluator", "gregory.ml.load", "gregory.ml.split"),
    *("gregory.ml.model_card.facts", "gregory.ml.model_card.mistakes", "gregory.ml.model_card.page"),
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection"),
    *("matplotlib.backends.backend_svg", "matplotlib.figure", "matplotlib.style"),
)


def load(algorithm: Algorithm) -> type[Trainer]:
    """Import all that the stage `train` needs, and return the trainer. The collector does not visit these objects again."""
    load_shared()
    # LightGBM and Keras import pandas if it is installed.
    with without_collector(), hidden("pandas"):
        trainer = trainer_class(algorithm)
    # The graph of a network makes so many objects that the collector would search all libraries again and again.
    gc.freeze()
    return trainer


def load_shared() -> None:
    """Import what the trainings of all algorithms need."""
    # scikit-learn imports pandas if it is installed, and has progress bars if rich is installed. Keras needs rich.
    with without_collector(), hidden("pandas", "rich"):
        for name in _SHARED:
            import_module(name)
