"""One epoch of BERT, padded to the longest text of a batch and padded to the full length, on the same batches.

    python -m benchmarks.bert_padding --data DIR [--encoder base_models/encoder] [--rounds 2] [--threads 2]

DIR contains labelled CSV files. Both arms start from the same weights, without dropout, so that their validation losses can be
compared. Their steps alternate, so that other load of the machine affects both equally. The time of an epoch is the sum of its training
steps and validation steps. Graphs are built before the first step.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import children, ratios
from benchmarks.labelled_files import read
from gregory.ml import _keras
from gregory.ml._keras.batching import batch_plan, micro_batches, pad
from gregory.ml.config import BertConfig, SplitConfig
from gregory.ml.split import Part, stratified
from gregory.ml.trainers import bert, bert_encoder

SUBJECT = "drug_reviews/Antihistamines"
TEXTS = {"title + leading sentences (60 words)": 60, "title + whole abstract": None}
CONFIG = BertConfig.model_validate({"dropout": 0.0, "encoder_dropout": 0.0})
BASELINE, OURS = "max_length", "longest"


class Arm:
    """A network and its padding. Each batch has as many pieces as in the trainer."""

    def __init__(self, encoder: Path, train: _keras.Encoded, validation: _keras.Encoded, *, padding: str, seed: int) -> None:
        _keras.keras.utils.set_random_seed(seed)
        config = CONFIG.model_copy(update={"padding": padding})
        self._length = config.max_length if padding == "max_length" else None
        self._train, self._validation = train, validation
        backbone = bert_encoder.load_backbone(encoder, dropout=0.0)
        self._schedule = bert.schedule_of(config, backbone, _keras.device(), longest=config.max_length)
        self._network = bert_encoder.build_network(backbone, config)
        optimizer = _keras.Adam(config.learning_rate, gradient_accumulation_steps=self._schedule.accumulation_steps)
        self._network.compile(optimizer=optimizer, loss="categorical_crossentropy", jit_compile=False)
        # This builds both graphs. The weights are restored.
        weights = self._network.get_weights()
        self.train(np.arange(2))
        self._network.test_on_batch(*self._batch(train, np.arange(2)))
        self._network.set_weights(weights)

    @property
    def pieces(self) -> int:
        """The number of pieces of a batch, which are in memory one after the other."""
        return self._schedule.accumulation_steps or 1

    def train(self, batch: NDArray[np.intp]) -> float:
        """Seconds of one update with these examples."""
        pieces = [(*self._batch(self._train, rows), np.full(len(rows), weight)) for rows, weight in micro_batches(batch, self.pieces)]
        started = time.perf_counter()
        for ids, targets, weights in pieces:
            self._network.train_on_batch(ids, targets, weights)
        return time.perf_counter() - started

    def validate(self, batch: NDArray[np.intp]) -> tuple[float, float]:
        """Seconds, and the sum of the losses of these examples."""
        parts = [rows for rows in np.array_split(batch, self.pieces) if len(rows)]
        batches = [self._batch(self._validation, rows) for rows in parts]
        started, losses = time.perf_counter(), []
        for ids, targets in batches:
            self._network.reset_metrics()
            losses.append(float(np.ravel(self._network.test_on_batch(ids, targets))[0]) * len(ids))
        return time.perf_counter() - started, sum(losses)

    def _batch(self, part: _keras.Encoded, batch: NDArray[np.intp]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return pad([part.token_ids[row] for row in batch], self._length), part.targets[batch]


def epoch(arms: list[Arm], train: _keras.Encoded, validation: _keras.Encoded, generator: np.random.Generator) -> list[tuple[float, float]]:
    """Seconds and validation loss of one epoch of each arm."""
    size = CONFIG.batch_size
    seconds, losses = np.zeros(len(arms)), np.zeros(len(arms))
    for batch in batch_plan([len(ids) for ids in train.token_ids], size, generator):
        seconds += [arm.train(batch) for arm in arms]
    for batch in batch_plan([len(ids) for ids in validation.token_ids], size):
        taken, summed = zip(*(arm.validate(batch) for arm in arms), strict=True)
        seconds += taken
        losses += summed
    return list(zip(seconds.tolist(), (losses / len(validation.token_ids)).tolist(), strict=True))


def encoded(tokenizer: Any, part: Part) -> _keras.Encoded:
    """A part of the split as input of the network."""
    targets: NDArray[np.float32] = np.eye(2, dtype=np.float32)[part.labels.astype(np.intp)]
    return _keras.Encoded(token_ids=bert.encode(tokenizer, part.texts, CONFIG.max_length), targets=targets)


def tokens_saved(train: _keras.Encoded, pieces: int, seed: int) -> tuple[float, float]:
    """Full length / mean padded length of an epoch, and full length / mean length, which is the upper limit of every padding."""
    lengths = [len(ids) for ids in train.token_ids]
    batches = batch_plan(lengths, CONFIG.batch_size, np.random.default_rng([seed, 0]))
    padded = sum(pad([train.token_ids[row] for row in rows]).size for batch in batches for rows, _ in micro_batches(batch, pieces))
    return CONFIG.max_length * len(lengths) / padded, CONFIG.max_length * len(lengths) / sum(lengths)


def main() -> None:
    """Print one line per kind of text."""
    parser = argparse.ArgumentParser(description="BERT epochs, padded to the longest of a batch and to the full length")
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled CSV files")
    parser.add_argument("--encoder", type=Path, default=Path("base_models/encoder"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    seed = SplitConfig().seed
    _keras.prepare(threads=options.threads, seed=seed)
    tokenizer = bert_encoder.load_tokenizer(options.encoder)
    print("| texts | full length, s/epoch | longest of the batch, s/epoch | ratio | of tokens | at most | apart in validation loss |")
    print("|---|---|---|---|---|---|---|")
    for name, words in TEXTS.items():
        split = stratified(read(options.data / f"{SUBJECT}.csv", words=words), SplitConfig())
        train, validation = encoded(tokenizer, split.train), encoded(tokenizer, split.validation)
        arms = [Arm(options.encoder, train, validation, padding=padding, seed=seed) for padding in (BASELINE, OURS)]
        rounds = [epoch(arms, train, validation, np.random.default_rng([seed, number])) for number in range(options.rounds)]
        seconds = [statistics.median(taken[arm][0] for taken in rounds) for arm in (0, 1)]
        found = [full[0] / ours[0] for full, ours in rounds]
        ratio = statistics.median(found)
        apart = max(abs(full[1] - ours[1]) for full, ours in rounds)
        tokens, bound = tokens_saved(train, arms[1].pieces, seed)
        print(f"| {name} | {seconds[0]:.1f} | {seconds[1]:.1f} | {ratio:.2f} | {tokens:.2f} | {bound:.2f} | {apart:.1e} |", flush=True)
        ratios.show(f"wall time of an epoch, {name}", found, baseline="padded to the full length")


if __name__ == "__main__":
    children.execute(main)
