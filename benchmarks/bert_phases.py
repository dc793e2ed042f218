"""Peak memory of each phase of a whole training of a random BERT-base: 1 text of 400 tokens at once, batches of 2, 2 epochs.

    python -m benchmarks.bert_phases [--before 33dff1c] [--layers 12] [--length 400] [--threads 2]

An older release and this one do the work of the stage `train`: load the encoder, fit, write checkpoints, restore the best weights,
predict 16 texts, save the model and load it. A second process resumes from the checkpoint of the first epoch. A phase is a function of the
trainer, or the time between two of them. The kernel counts the peak (VmHWM), and each phase begins with a new count. Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np

from gregory.ml.config import BertConfig, Hyperparameters
from gregory.ml.dataset import Example
from gregory.ml.progress import Progress
from gregory.ml.split import Part, Split
from gregory.ml.trainers.base import TrainerContext

WORDS = tuple(f"w{number}" for number in range(30_499))
TOGETHER = 16  # texts of one prediction
# bbf93e9 has other modules, so this program cannot measure it.
BEFORE = "33dff1c"
ATTEMPTS = {"first": ("--stop",), "resumed": ()}


class Stopped(Exception):
    """The end of the first process, after the checkpoint of its first epoch."""


class Phases:
    """The peak of each phase in bytes, in order."""

    def __init__(self) -> None:
        self.peaks: list[tuple[str, int]] = []

    def end(self, name: str) -> None:
        """End the phase `name` and begin another one."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
        self.peaks.append((name, peak))
        print(f"{name}: {peak / 2**20:.0f}", file=sys.stderr, flush=True)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def of(self, module: Any, function: str, name: str) -> None:
        """Make every call of the function a phase. The time before it is that of the step."""
        original: Callable[..., Any] = getattr(module, function)

        @wraps(original)
        def measured(*arguments: Any, **options: Any) -> Any:
            self.end(f"before: {name}")
            result = original(*arguments, **options)
            self.end(name)
            return result

        setattr(module, function, measured)


def part(count: int, length: int) -> Part:
    """Texts of `length` tokens, with both labels in turn."""
    generator = np.random.default_rng(count)
    texts = (" ".join(generator.choice(WORDS, length)) for _ in range(count))
    return Part.of([Example(article_id=number, text=text, label=number % 2) for number, text in enumerate(texts)])


def train(folder: Path, *, length: int, threads: int, stop: bool) -> list[tuple[str, int]]:
    """Train in this process and return the peaks. With `stop` it ends after the checkpoint of the first epoch."""
    phases = Phases()
    from gregory.ml._keras import checkpoint
    from gregory.ml.trainers import bert

    phases.end("import the libraries")
    phases.of(bert, "load_backbone", "load the encoder")
    phases.of(checkpoint, "write", "write the checkpoint")
    phases.of(checkpoint, "restore", "restore the checkpoint")

    def report(progress: Progress) -> None:
        phases.end(progress.message)
        if stop and progress.epoch == 2:
            raise Stopped

    hyperparameters = Hyperparameters(bert=BertConfig(epochs=2, max_length=length, batch_size=2, micro_batch=1))
    trainer = bert.BertTrainer(hyperparameters, TrainerContext(encoder_dir=folder / "encoder", threads=threads, seed=69))
    split = Split(train=part(2, length), validation=part(1, length), test=part(1, length))
    try:
        model = trainer.fit(split, report=report, checkpoint=folder / "fit.npz")
    except Stopped:
        return phases.peaks
    phases.end("end the fit")
    model._batch_size = TOGETHER
    model.predict_proba(part(TOGETHER, length).texts)
    phases.end(f"predict {TOGETHER} texts")
    saved = folder / "saved"
    saved.mkdir()
    model.save(saved)
    phases.end("save the model")
    bert.BertModel.load(saved, threads=threads).predict_proba(part(1, length).texts)
    phases.end("load the saved model")
    return phases.peaks


def in_a_process(tree: Path, folder: Path, *arguments: str) -> list[tuple[str, int]]:
    """Train with the release in `tree`, in a process of its own."""
    from benchmarks import children

    environment = {**os.environ, "PYTHONPATH": str(tree)}
    # This module, with the packages of the other release.
    argv = [sys.executable, "-P", __file__, "--folder", str(folder), *arguments]
    done = children.run(argv, env=environment, stdout=subprocess.PIPE, check=True)
    return [(name, peak) for name, peak in json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    """Train in this process, or compare both releases."""
    parser = argparse.ArgumentParser(description="memory of a whole training of BERT")
    parser.add_argument("--before", default=BEFORE, help="the older release, a commit with these modules")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--length", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(train(options.folder, length=options.length, threads=options.threads, stop=options.stop)))
        return
    # The older release has no such module.
    from benchmarks import children

    children.execute(lambda: compare(options.before, layers=options.layers, length=options.length, threads=options.threads))


def compare(before: str, *, layers: int, length: int, threads: int) -> None:
    """Print the peaks of both releases and their ratio."""
    from benchmarks import ratios
    from benchmarks.releases import REPOSITORY, release
    from tests.ml.tiny_models import tiny_encoder

    sizes = {"hidden_size": 768, "num_hidden_layers": layers, "num_attention_heads": 12, "intermediate_size": 3072}
    highest = {}
    print("| release | attempt | phase | peak, MiB |\n|---|---|---|---|")
    with release(before) as older:
        for name, tree in ((before, older), ("this release", REPOSITORY)):
            with tempfile.TemporaryDirectory() as folder:
                tiny_encoder(Path(folder, "encoder"), more_words=WORDS, **sizes)
                settings = ("--length", str(length), "--threads", str(threads))
                peaks = {attempt: in_a_process(tree, Path(folder), *settings, *more) for attempt, more in ATTEMPTS.items()}
            highest[name] = max(peak for phases in peaks.values() for _, peak in phases)
            for attempt, phases in peaks.items():
                for phase, peak in phases:
                    print(f"| {name} | {attempt} | {phase} | {peak / 2**20:.0f} |", flush=True)
    ratio = highest[before] / highest["this release"]
    ratios.show(f"peak memory of a training, {layers} layers", [ratio], baseline=f"release {before}")


if __name__ == "__main__":
    main()
