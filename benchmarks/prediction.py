"""Predictions of 20,000 texts: LightGBM beside its bare library, BERT beside the usual loop, and the peak memory of the stage.

    python -m benchmarks.prediction MODEL_FOLDER --data FILE.csv [--texts 20000] [--usual-texts 1000] [--words 60] [--rounds 10]

FILE.csv is a labelled file. A text is a title with leading sentences, as a training with the demo bundle reads it, made before the
measurement. The texts are repeated with a number before them until there are enough. Each round takes the next part of them, first by
our code and then by the other side. For LightGBM that is `transform` and `predict` of the two libraries on the whole part at once. For
BERT it is the usual loop: batches of 32 in the given order, padded to the maximum length of the model. Such a batch takes the same time
for any text, so the loop reads --usual-texts of all texts. The rates count articles per second of wall time, and of processor time,
which other programs change less. The memory is that of the process of the stage, with a tenth of the texts and with all of them.
--rounds 0 measures only the memory.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks import children
from benchmarks import ratios as shown
from benchmarks.labelled_files import read
from gregory.ml import artifacts
from gregory.ml.dataset import UnlabelledText, write_texts
from gregory.ml.load import load_model
from gregory.ml.prediction import predict
from gregory.ml.progress import silent
from gregory.ml.resources import cpu_count, integer_instructions
from gregory.ml.stages import contract

USUAL_BATCH = 32
Probabilities = NDArray[np.float64]
Side = Callable[[Any, list[UnlabelledText]], Probabilities]


def ours(model: Any, texts: list[UnlabelledText]) -> Probabilities:
    """The code of the stage."""
    return np.array([one.probability for one in predict(model, texts, total=len(texts), report=silent)])


def bare(model: Any, texts: list[UnlabelledText]) -> Probabilities:
    """Both libraries of LightGBM, with their own numbers of threads."""
    return np.asarray(model._booster.predict(model._vectoriser.transform([text.text for text in texts])))


def usual(model: Any, texts: list[UnlabelledText]) -> Probabilities:
    """A network in batches of the given order, padded to its maximum length."""
    from gregory.ml._keras.batching import pad

    length = model._shape.head.max_length
    parts = []
    for start in range(0, len(texts), USUAL_BATCH):
        ids = model._token_ids([text.text for text in texts[start : start + USUAL_BATCH]])
        parts.append(model._predictor._call(pad(ids, length)).numpy()[:, -1])
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One call. seconds, processor: wall time and processor time of all threads."""

    texts: int
    seconds: float
    processor: float
    probabilities: Probabilities


def timed(predict_all: Side, model: Any, texts: list[UnlabelledText]) -> Timed:
    """Call one side."""
    seconds, processor = time.perf_counter(), time.process_time()
    probabilities = predict_all(model, texts)
    return Timed(
        texts=len(texts),
        seconds=time.perf_counter() - seconds,
        processor=time.process_time() - processor,
        probabilities=probabilities,
    )


def rates(model: Any, texts: list[UnlabelledText], other: Side, *, rounds: int, of_other: int) -> None:
    """Print articles per second of both sides, and how far their probabilities differ. The other side reads `of_other` texts."""
    # The first call of a network builds its graph.
    ours(model, texts[:64]), other(model, texts[:64])
    size, fewer = -(-len(texts) // rounds), -(-of_other // rounds)
    pairs = []
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        pairs.append((timed(ours, model, part), timed(other, model, part[:fewer])))
        mine, theirs = pairs[-1]
        ratio = mine.texts / mine.seconds / (theirs.texts / theirs.seconds)
        print(f"after {start + len(part)} articles: {ratio:.2f} times as many per second, load {os.getloadavg()[0]:.0f}", flush=True)
    print("| side | articles | s | articles per s | processor s | articles per processor s |\n|---|---|---|---|---|---|")
    per_second, per_processor_second = [], []
    for name, side in zip(("ours", other.__name__), zip(*pairs, strict=True), strict=True):
        count, wall, processor = (sum(values) for values in zip(*((one.texts, one.seconds, one.processor) for one in side), strict=True))
        per_second.append([one.texts / one.seconds for one in side])
        per_processor_second.append(count / processor)
        print(f"| {name} | {count} | {wall:.2f} | {count / wall:.1f} | {processor:.2f} | {count / processor:.1f} |")
    ratios = [mine / theirs for mine, theirs in zip(*per_second, strict=True)]
    differences = [np.abs(mine.probabilities[: theirs.texts] - theirs.probabilities).max() for mine, theirs in pairs]
    print(
        f"articles per second, ours / {other.__name__}: {statistics.median(ratios):.2f} (median of {len(ratios)} rounds, "
        f"{min(ratios):.2f} to {max(ratios):.2f}); per processor second: {per_processor_second[0] / per_processor_second[1]:.2f}; "
        f"probabilities differ by at most {max(differences):.1e}",
        flush=True,
    )
    shown.show("articles per second of wall time", ratios, baseline=f"{other.__name__} library or loop")


def peak(folder: Path, texts: list[UnlabelledText]) -> int:
    """The peak memory of the stage in bytes."""
    with TemporaryDirectory() as temporary:
        source = Path(temporary) / "in"
        source.mkdir()
        write_texts(source / contract.TEXTS, texts)
        request = contract.PredictRequest(folder=folder.resolve(), digest=artifacts.digest(folder))
        (source / contract.REQUEST).write_text(request.model_dump_json())
        command = [sys.executable, "-m", "gregory.ml.stages", "predict", "--in", str(source), "--out", str(source.parent / "out")]
        highest = 0
        with children.started(command, stdout=subprocess.DEVNULL) as process:
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                highest = max(highest, watched.memory_info().rss)
                time.sleep(0.02)
        if process.returncode:
            raise SystemExit("the stage failed")
        return highest


def many(path: Path, count: int, *, words: int) -> list[UnlabelledText]:
    """So many different texts."""
    known = [example.text for example in read(path, words=words).examples]

    def numbered() -> Iterator[str]:
        for number, text in enumerate(cycle(known)):
            yield text if number < len(known) else f"{number} {text}"

    return [UnlabelledText(article_id=number, text=text) for number, text in enumerate(islice(numbered(), count))]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=60, help="most words of the leading sentences")
    parser.add_argument("--usual-texts", type=int, default=1_000, help="texts of the usual loop of a network")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    texts = many(options.data, options.texts, words=options.words)
    algorithm = artifacts.read_manifest(options.model).algorithm
    print(f"{algorithm}, {len(texts)} texts, {cpu_count()} processors with {integer_instructions()}", flush=True)
    if options.rounds:
        other, of_other = (bare, len(texts)) if algorithm == "lgbm_tfidf" else (usual, min(options.usual_texts, len(texts)))
        rates(load_model(options.model), texts, other, rounds=options.rounds, of_other=of_other)
    few, all_of_them = peak(options.model, texts[: len(texts) // 10]), peak(options.model, texts)
    print(f"peak memory: {few / 2**20:.0f} MiB with a tenth of the texts, {all_of_them / 2**20:.0f} MiB with all: {all_of_them / few:.2f}")


if __name__ == "__main__":
    children.execute(main)
