"""Summaries per second with several batches at once, beside one batch at once with all threads, as until release bbf93e9.

    python -m benchmarks.summaries [--width 1024] [--layers 12] [--texts 16] [--new-tokens 60] [--rounds 3] [--memory]

The model has the shape of BART-large and random weights in int8, so no download is needed. The texts have 150 to 400 tokens, and every
summary has exactly --new-tokens. Both ways summarise all texts in each round, in turn. With --memory, one batch at the limits of the
specification (4 texts of 1,024 tokens, 300 new tokens, 4 beams) gives the memory per token that `gregory.ml.summarisers.workers` counts
with.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import ctranslate2
import numpy as np
import psutil

from benchmarks import children
from benchmarks import ratios as shown
from benchmarks.releases import REPOSITORY
from gregory.ml.config import SummariserConfig
from gregory.ml.progress import silent
from gregory.ml.resources import cpu_count, integer_instructions
from gregory.ml.summarise import summarise_all
from gregory.ml.summarisers.bart import BartOnCTranslate2
from gregory.ml.summarisers.workers import batch_bytes
from tests.ml.tiny_bart import WORDS

VOCABULARY, POSITIONS, BEAMS = 50_265, 1_024, 4
MAKE = """
import json, sys
from pathlib import Path
from tests.ml.tiny_bart import tiny_bart
tiny_bart(Path(sys.argv[1]), **json.loads(sys.argv[2]))
"""


def texts_of(tokens: list[int]) -> list[str]:
    """Texts of about so many tokens."""
    generator = np.random.default_rng(69)
    return [" ".join(generator.choice(WORDS.split(), count)) for count in tokens]


def one_at_once(folder: Path, config: SummariserConfig, threads: int) -> BartOnCTranslate2:
    """A summariser of one batch at once with all threads."""
    summariser = BartOnCTranslate2(folder, config, threads=1)
    precision = summariser._translator.compute_type
    summariser._translator = ctranslate2.Translator(str(folder / "int8"), compute_type=precision, inter_threads=1, intra_threads=threads)
    return summariser


def compare(folder: Path, *, texts: int, new_tokens: int, rounds: int) -> None:
    """Print the times of both ways."""
    config = SummariserConfig(max_new_tokens=new_tokens)
    abstracts = texts_of([int(count) for count in np.linspace(150, 400, texts)])
    several, one = BartOnCTranslate2(folder, config, threads=cpu_count()), one_at_once(folder, config, cpu_count())
    ways = {f"{several.at_once} batches at once": several, f"one batch, {cpu_count()} threads": one}
    print(f"| round | load | {' | '.join(f'{way}, s | processor, s' for way in ways)} | ratio |")
    print("|---" * (3 + 2 * len(ways)) + "|")
    ratios, written = [], set()
    for number in range(rounds):
        walls, cells = [], []
        for summariser in ways.values():
            wall, processor = time.perf_counter(), time.process_time()
            written.add(tuple(summarise_all(abstracts, summariser, batch_size=config.batch_size, report=silent)))
            walls.append(time.perf_counter() - wall)
            cells.append(f"{walls[-1]:.1f} | {time.process_time() - processor:.1f}")
        ratios.append(walls[1] / walls[0])
        print(f"| {number + 1} | {os.getloadavg()[0]:.0f} | {' | '.join(cells)} | {ratios[-1]:.2f} |", flush=True)
    equal = "equal" if len(written) == 1 else "DIFFERENT"
    print(f"median ratio of summaries per second: {statistics.median(ratios):.2f}; the texts are {equal}", flush=True)
    shown.show(f"wall time, {several.at_once} batches at once, texts {equal}", ratios, baseline="one batch with all threads")


def memory(folder: Path) -> None:
    """Print the memory of one batch at the limits of the specification."""
    config = SummariserConfig()
    summariser = one_at_once(folder, config, cpu_count())
    process = psutil.Process()
    loaded = process.memory_info().rss
    summariser.summarise(texts_of([POSITIONS] * config.batch_size))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    tokens = config.batch_size * (config.max_source_tokens + BEAMS * config.max_new_tokens)
    print(
        f"one batch: {(peak - loaded) / 2**20:.0f} MiB, {(peak - loaded) / tokens:,.0f} bytes per token; "
        f"counted with: {batch_bytes(config, beams=BEAMS) / 2**20:.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=1_024)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure the memory of a batch, and not the time")
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        limit = SummariserConfig().max_new_tokens if options.memory else options.new_tokens
        folder = Path(temporary, "bart")
        shape = {"width": options.width, "layers": options.layers, "heads": options.width // 64, "vocabulary_size": VOCABULARY}
        settings = {"precision": "int8", "min_length": limit, "positions": POSITIONS, "forced_eos_token": None}
        # Otherwise the arrays of the new model would count as memory of this process.
        children.run([sys.executable, "-c", MAKE, str(folder), json.dumps(shape | settings)], cwd=REPOSITORY, check=True)
        print(f"width {options.width}, {options.layers} layers, {cpu_count()} processors with {integer_instructions()}", flush=True)
        if options.memory:
            memory(folder)
        else:
            compare(folder, texts=options.texts, new_tokens=options.new_tokens, rounds=options.rounds)


if __name__ == "__main__":
    children.execute(main)
