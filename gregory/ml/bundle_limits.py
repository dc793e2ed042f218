"""The tokens that the encoder and the summariser of a bundle can take, compared with the hyper-parameters. Loads no model.

A stage meets these limits after its start, the training of BERT after hours of summaries. So commands and runs compare them first.
"""

from collections.abc import Collection
from pathlib import Path

from gregory.ml.base_models import open_bundle, read_settings
from gregory.ml.config import TrainConfig
from gregory.ml.errors import ConfigError
from gregory.ml.summarise import has_generation
from gregory.ml.summarisers.generation import GENERATION_FILE, Generation, require_within
from gregory.ml.trainers.bert_config import read_config


def require_fit(bundle_dir: Path, config: TrainConfig, algorithms: Collection[str]) -> None:
    """Raise ConfigError if the bundle cannot take as many tokens as these trainings ask for. Raises BundleError if it cannot be read."""
    bundle, hyperparameters = open_bundle(bundle_dir), config.hyperparameters
    if config.pseudo_label or "pubmed_bert" in algorithms:
        require_positions(hyperparameters.bert.max_length, read_config(bundle.encoder_dir).max_position_embeddings, bundle.encoder_dir)
    if has_generation(bundle.summariser_dir):
        require_within(hyperparameters.summariser, read_settings(bundle.summariser_dir / GENERATION_FILE, Generation))


def require_positions(max_length: int, positions: int, encoder_dir: Path) -> None:
    """Raise ConfigError if a text of `max_length` tokens is too long for the encoder."""
    if max_length > positions:
        raise ConfigError(f"bert.max_length {max_length} exceeds the {positions} positions of {encoder_dir}; lower it")
