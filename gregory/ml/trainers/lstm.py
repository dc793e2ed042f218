"""The classifier lstm: an LSTM on word ids, with a vocabulary from the training texts and three files. `_keras` fits it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import WordLevelTrainer

from gregory.ml import _keras
from gregory.ml._keras import keras
from gregory.ml.config import Hyperparameters, LstmConfig
from gregory.ml.progress import Report
from gregory.ml.split import Part, Split
from gregory.ml.trainers.base import Compute, TrainerContext
from gregory.ml.trainers.network import NetworkModel

WEIGHTS_FILE = "lstm_weights.h5"
TOKENIZER_FILE = "tokenizer.json"
SHAPE_FILE = "model.json"
PADDING, UNKNOWN = "[PAD]", "[UNK]"
UNKNOWN_ID = 1
# Keras' TextVectorization removes these characters and puts no blank there. GregoryAI's LSTM reads its output.
_PUNCTUATION = Regex(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")


class LstmModel(NetworkModel):
    """A fitted network with its vocabulary."""

    def __init__(
        self, network: Any, tokenizer: Tokenizer, config: LstmConfig, history: list[dict[str, float]], compute: Compute | None = None
    ) -> None:
        super().__init__(network, batch_size=config.batch_size, history=history, compute=compute)
        self._tokenizer = tokenizer
        self._config = config

    def save(self, folder: Path) -> None:
        """Write weights, vocabulary and shape."""
        _keras.save_weights(self._network, folder / WEIGHTS_FILE)
        self._tokenizer.save(str(folder / TOKENIZER_FILE))
        (folder / SHAPE_FILE).write_text(self._config.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, threads: int) -> Self:
        """Rebuild the network from its shape and load the weights."""
        _keras.prepare(threads=threads)
        config = LstmConfig.model_validate_json((folder / SHAPE_FILE).read_text(encoding="utf-8"))
        tokenizer = Tokenizer.from_str((folder / TOKENIZER_FILE).read_text(encoding="utf-8"))
        network = _network(config, tokenizer.get_vocab_size())
        _keras.load_weights(network, folder / WEIGHTS_FILE)
        return cls(network, tokenizer, config, [])

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return encode(self._tokenizer, texts, self._config.sequence_length)


class LstmTrainer:
    """Learns the vocabulary from the training part, then fits the network."""

    model_class = LstmModel

    def __init__(self, hyperparameters: Hyperparameters, context: TrainerContext) -> None:
        self._config = hyperparameters.lstm
        self._context = context

    def fit(self, split: Split, *, report: Report, checkpoint: Path | None = None) -> LstmModel:
        """Train on split.train and stop early on split.validation. Continue from the checkpoint if the file exists."""
        config, context = self._config, self._context
        _keras.prepare(threads=context.threads, seed=context.seed, gpu_required=context.require_gpu)
        tokenizer = train_tokenizer(split.train.texts, config.vocabulary_size)
        network = _network(config, tokenizer.get_vocab_size())
        network.compile(optimizer=_keras.Adam(), loss="binary_crossentropy", jit_compile=False)
        history = _keras.fit(
            network,
            train=_encoded(tokenizer, split.train, config),
            validation=_encoded(tokenizer, split.validation, config),
            schedule=_keras.Schedule(
                epochs=config.epochs, batch_size=config.batch_size, patience=config.patience, start_from_epoch=config.start_from_epoch
            ),
            seed=context.seed,
            report=report,
            checkpoint_file=checkpoint,
        )
        return LstmModel(network, tokenizer, config, history, {"device": _keras.device().name, "precision": "float32"})


def train_tokenizer(texts: Sequence[str], vocabulary_size: int) -> Tokenizer:
    """The most frequent words of `texts`, at most `vocabulary_size` with the padding and unknown entries."""
    learner = _tokenizer(None)
    learner.train_from_iterator(texts, WordLevelTrainer(vocab_size=vocabulary_size, special_tokens=[PADDING, UNKNOWN], show_progress=False))
    # A tokenizer built from the vocabulary does not match the two names in raw text. So an article cannot contain padding.
    return _tokenizer(learner.get_vocab())


def encode(tokenizer: Tokenizer, texts: Sequence[str], sequence_length: int) -> list[list[int]]:
    """Word ids of each text, cut at `sequence_length`.

    A text without words becomes one unknown word, because a sequence of padding only is an error on a GPU.
    """
    return [encoding.ids[:sequence_length] or [UNKNOWN_ID] for encoding in tokenizer.encode_batch_fast(list(texts))]


def _tokenizer(vocabulary: dict[str, int] | None) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = NormalizerSequence([Lowercase(), Replace(_PUNCTUATION, "")])
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return tokenizer


def _encoded(tokenizer: Tokenizer, part: Part, config: LstmConfig) -> _keras.Encoded:
    targets = part.labels.astype(np.float32)[:, np.newaxis]
    return _keras.Encoded(token_ids=encode(tokenizer, part.texts, config.sequence_length), targets=targets)


def _network(config: LstmConfig, vocabulary: int) -> Any:
    seed = config.weight_seed
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    hidden = keras.layers.Embedding(
        vocabulary,
        config.embedding_dim,
        mask_zero=True,
        embeddings_initializer=keras.initializers.GlorotUniform(seed),
        embeddings_regularizer=_l2(config.embedding_l2),
        name="embedding",
    )(token_ids)
    for index in range(config.layers):
        layer = keras.layers.LSTM(
            config.units,
            return_sequences=index < config.layers - 1,
            kernel_initializer=keras.initializers.GlorotUniform(seed),
            recurrent_initializer=keras.initializers.Orthogonal(seed=seed),
            kernel_regularizer=_l2(config.kernel_l2),
            recurrent_regularizer=_l2(config.recurrent_l2),
            name=f"lstm_{index}",
        )
        hidden = (keras.layers.Bidirectional(layer, name=f"bidirectional_{index}") if config.bidirectional else layer)(hidden)
    hidden = keras.layers.Dropout(config.dropout, seed=seed, name="dropout")(hidden)
    probability = keras.layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        kernel_regularizer=_l2(config.dense_l2),
        dtype="float32",
        name="probability",
    )(hidden)
    return keras.Model(token_ids, probability, name="lstm_classifier")


def _l2(penalty: float) -> Any:
    return keras.regularizers.L2(penalty) if penalty else None
