"""Every number of the training. The defaults are the values of the specification.

A YAML file can override single values (`load_hyperparameters`). The manifest of a model contains the used values.
Sources: section 4 of the specification and GregoryAI's reference classes. docs/decisions explains the choice between two values.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gregory import bounded_yaml
from gregory.ml.errors import ConfigError

Algorithm = Literal["pubmed_bert", "lgbm_tfidf", "lstm"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
DEFAULT_THRESHOLD = 0.8
DEFAULT_LOOKBACK_DAYS = 90
SEED = 69

# The libraries store whole numbers in 32 bits.
LARGEST = 2**31 - 1
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, le=LARGEST)]
Rate = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
# The first token, a word, the last token.
AtLeastOneWord = Annotated[int, Field(ge=3, le=LARGEST)]
Penalty = Annotated[float, Field(ge=0)]


_EXPONENT = re.compile(r"([-+]?\d+)[eE]([-+]?\d+)")


class _Section(BaseModel):
    # An unknown key is usually a typing error without effect, so it is refused.
    # Infinity is valid YAML and not valid JSON: the stage would get null.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class BertConfig(_Section):
    """[CLS] of a fine-tuned encoder -> Dense(relu, L2) -> Dropout -> Dense(2, softmax); Adam, cross-entropy.

    encoder_dropout: None uses the value of the encoder. padding: padding of a batch, with the names of Hugging Face.
    micro_batch: examples in memory at once; their gradients are accumulated to those of the batch; None: the number that fits.
    precision: "auto" is mixed precision on a GPU that multiplies bfloat16, and float32 elsewhere.
    """

    learning_rate: Rate = 2e-5
    dense_units: Positive = 48
    dense_l2: Penalty = 0.01
    dropout: Share = 0.3
    encoder_dropout: Share | None = None
    freeze_weights: bool = False
    max_length: Annotated[int, Field(ge=8, le=512)] = 400
    batch_size: Positive = 16
    epochs: Positive = 10
    patience: Positive = 3
    # These change the computation and not the result: less memory for the same update, less padding for the same probabilities.
    padding: Literal["longest", "max_length"] = "longest"
    micro_batch: Positive | None = None
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"


class LgbmConfig(_Section):
    """Gradient boosting on a plain TF-IDF matrix. `subsample` needs a `subsample_freq` above 0, and the reference class has 0."""

    rounds: Positive = 100
    colsample_bytree: Rate = 0.5527441519925319
    learning_rate: Rate = 0.05670501625777839
    max_depth: Annotated[int, Field(ge=-1, le=LARGEST)] = 13
    min_child_samples: Positive = 6
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 19
    reg_alpha: Penalty = 0.028846140312283053
    reg_lambda: Penalty = 0.5494358889794788
    subsample: Rate = 0.8310616529434425
    random_state: Seed = 42


class LstmConfig(_Section):
    """Embedding -> LSTM layers -> Dropout -> Dense(1, sigmoid); Adam at its default rate, binary cross-entropy."""

    vocabulary_size: Annotated[int, Field(ge=3, le=LARGEST)] = 22_000
    sequence_length: Positive = 512
    embedding_dim: Positive = 200
    embedding_l2: Penalty = 0.0
    units: Positive = 32
    layers: Positive = 1
    bidirectional: bool = False
    kernel_l2: Penalty = 0.01
    recurrent_l2: Penalty = 0.01
    dense_l2: Penalty = 0.01
    dropout: Share = 0.5
    weight_seed: Seed = 42
    batch_size: Positive = 32
    epochs: Positive = 10
    patience: Positive = 3
    start_from_epoch: Annotated[int, Field(ge=0, le=LARGEST)] = 3


class SummariserConfig(_Section):
    """The limits of the summariser, with the two tokens around a text. Its beams and its length penalty are part of the bundle."""

    max_new_tokens: AtLeastOneWord = 300
    max_source_tokens: AtLeastOneWord = 1024
    batch_size: Positive = 4


class PseudoLabelConfig(_Section):
    """Self-training with BERT: the least probability of an accepted label, and the largest number of rounds."""

    confidence_threshold: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    max_iterations: Positive = 7


class SplitConfig(_Section):
    """Shares of the validation part and the test part. The remainder is the training part. All algorithms of a run use one seed."""

    validation: Annotated[float, Field(ge=0.01, lt=0.5)] = 0.15
    test: Annotated[float, Field(ge=0.01, lt=0.5)] = 0.15
    seed: Seed = SEED


class Hyperparameters(_Section):
    """All sections: the form of the hyper-parameter file."""

    bert: BertConfig = BertConfig()
    lgbm: LgbmConfig = LgbmConfig()
    lstm: LstmConfig = LstmConfig()
    summariser: SummariserConfig = SummariserConfig()
    pseudo_label: PseudoLabelConfig = PseudoLabelConfig()
    split: SplitConfig = SplitConfig()


class TrainConfig(_Section):
    """The configuration of one run: the flags of the operator and the hyper-parameters."""

    prob_threshold: Annotated[float, Field(gt=0, lt=1)] = DEFAULT_THRESHOLD
    pseudo_label: bool = False
    hyperparameters: Hyperparameters = Hyperparameters()


class CardConfig(_Section):
    """What the model card names. subject_name: its heading; empty: the slug. titles: articles by title and id, else by id only."""

    subject_name: str = ""
    titles: bool = True


def load_hyperparameters(path: Path | None) -> Hyperparameters:
    """The values of the specification, overridden by those of the YAML mapping at `path`.

    Raises ConfigError with the file, the key and the value.
    """
    if path is None:
        return Hyperparameters()
    try:
        overrides = bounded_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"hyper-parameter file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"hyper-parameter file {path} is not YAML: {error}") from error
    if overrides is None:
        return Hyperparameters()
    if not isinstance(overrides, dict):
        raise ConfigError(f"hyper-parameter file {path} must be a mapping of sections ({', '.join(Hyperparameters.model_fields)})")
    try:
        return Hyperparameters.model_validate(overrides)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"hyper-parameter file {path}: {key}: {first['msg']} (got {first['input']!r}){_remedy(first['input'])}"
        ) from error


def _remedy(value: object) -> str:
    # The specification writes 2e-5, but YAML 1.1 needs a dot before the exponent.
    if isinstance(value, str) and (number := _EXPONENT.fullmatch(value)):
        return f"; YAML reads this as a word, write {number[1]}.0e{number[2]}"
    return ""
