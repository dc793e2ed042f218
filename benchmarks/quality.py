"""Quality of each algorithm on every labelled file, over split seeds, beside published figures, with and without pseudo-labels.

    python -m benchmarks.quality --data DIR [--files NAME ...] [--algorithms NAME ...] [--seeds 5] [--pseudo-labels off on]
        [--encoder base_models/encoder] [--minutes N] [--again] [--results benchmarks/quality.jsonl]

DIR contains labelled CSV files, also in its folders. Texts are title and abstract, as those of the published figures of LightGBM. Each
fit adds one line to the results, which have no text. A fit with a line is not repeated, so a later command continues. A line counts if
the content of its file is still the same. --again repeats all fits, and the last line of a fit counts. With --minutes, no fit begins
after this time. Pseudo-labels need the unlabelled texts of a file, which NAME_pool.csv has. BERT predicts them once for each split, and
that takes most of the time.
"""

import argparse
import csv
import hashlib
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from benchmarks import children, ratios
from benchmarks.labelled_files import is_labelled, read
from benchmarks.releases import commit
from gregory.ml.config import ALGORITHMS, Algorithm, Hyperparameters, SplitConfig
from gregory.ml.dataset import Example, UnlabelledText
from gregory.ml.metrics import measure
from gregory.ml.progress import silent
from gregory.ml.pseudo_label import self_train
from gregory.ml.registry import trainer_class
from gregory.ml.resources import cpu_count
from gregory.ml.split import Split, stratified
from gregory.ml.text import abstract, clean, join
from gregory.ml.trainers.base import TrainerContext

RESULTS = Path(__file__).with_name("quality.jsonl")
# The cheapest algorithm is first, so that a short time gives most lines.
ORDER = ("lgbm_tfidf", "lstm", "pubmed_bert")
FIGURES = ("roc_auc", "pr_auc", "f1@.5", "f1@.8")
# Mean test ROC AUC of the same parameters on the same file, over other splits.
SAME_FILE = {
    ("drug_reviews/ADHD", "lgbm_tfidf", False): 0.960,
    ("drug_reviews/CalciumChannelBlockers", "lgbm_tfidf", False): 0.837,
    ("gregory_ms_raw", "lgbm_tfidf", False): 0.941,
}
# GregoryAI's own figures of its larger data on multiple sclerosis. That of LightGBM is of hard labels.
PUBLISHED = SAME_FILE | {
    ("gregory_ms_raw", "lgbm_tfidf", True): 0.884,
    ("gregory_ms_raw", "lstm", False): 0.900,
    ("gregory_ms_raw", "pubmed_bert", True): 0.906,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One fit. file: name below DIR without .csv. pseudo_labels: whether its training part has them."""

    file: str
    algorithm: Algorithm
    seed: int
    pseudo_labels: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The line of a fit. content: as of `content_of`. commit: of the code that made the fit."""

    figures: dict[str, float]
    content: str | None
    commit: str | None


def known(results: Path) -> dict[Fit, Measured]:
    """The last line of each fit. An unfinished last line counts as none."""
    found = {}
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else ():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        fit = Fit(**content["fit"])
        found[fit] = Measured(figures=content["figures"], content=content.get("content"), commit=content.get("commit"))
    return found


def content_of(fit: Fit, data: Path) -> str:
    """The first digits of the SHA-256 of the files that a fit reads."""
    paths = [data / f"{fit.file}.csv", *([pool_of(data, fit.file)] if fit.pseudo_labels else [])]
    return "-".join(hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in paths if path.exists())


def valid(found: dict[Fit, Measured], files: Sequence[str], data: Path) -> dict[Fit, Measured]:
    """The fits of these files that have read their present content."""
    return {fit: one for fit, one in found.items() if fit.file in files and one.content == content_of(fit, data)}


def add(results: Path, fit: Fit, measured: Measured) -> None:
    """Add the line of a fit, on a line of its own also after an interrupted write."""
    before = results.read_bytes() if results.exists() else b""
    start = "" if not before or before.endswith(b"\n") else "\n"
    with results.open("a", encoding="utf-8") as stream:
        stream.write(f"{start}{json.dumps({'fit': asdict(fit), **asdict(measured)})}\n")


def planned(files: Sequence[str], algorithms: Sequence[Algorithm], seeds: int, pseudo_labels: Sequence[bool], data: Path) -> Iterator[Fit]:
    """All fits, the cheapest first. A file without a pool has no fit with pseudo-labels."""
    for with_labels, algorithm, file, seed in product(sorted(pseudo_labels), sorted(algorithms, key=ORDER.index), files, range(seeds)):
        if not with_labels or pool_of(data, file).exists():
            yield Fit(file=file, algorithm=algorithm, seed=seed, pseudo_labels=with_labels)


def labelled(data: Path) -> list[str]:
    """The names of the labelled files, without .csv."""
    return sorted(path.relative_to(data).with_suffix("").as_posix() for path in data.rglob("*.csv") if is_labelled(path))


def pool_of(data: Path, file: str) -> Path:
    """The file of unlabelled texts of the same feed. It may not exist."""
    return data / f"{file.removesuffix('_raw')}_pool.csv"


def evaluated(fit: Fit, data: Path, context: TrainerContext, accepted: "Accepted") -> dict[str, float]:
    """The figures of one fit on its test part."""
    split = stratified(read(data / f"{fit.file}.csv", words=None), SplitConfig(seed=fit.seed))
    if fit.pseudo_labels:
        split = split.with_more_training(accepted.of(fit, split))
    began = time.process_time()
    model = trainer_class(fit.algorithm)(Hyperparameters(), context).fit(split, report=silent)
    seconds = time.process_time() - began
    probabilities = model.predict_proba(split.test.texts)
    half, high = (measure(split.test.labels, probabilities, threshold) for threshold in (0.5, 0.8))
    figures = {"roc_auc": half["roc_auc"], "pr_auc": half["pr_auc"], "f1@.5": half["f1"], "f1@.8": high["f1"]}
    return {name: round(value, 4) for name, value in {**figures, "seconds": seconds}.items()}


class Accepted:
    """The texts with a pseudo-label for each split, which all algorithms share, as in a run."""

    def __init__(self, data: Path, context: TrainerContext) -> None:
        self._data, self._context = data, context
        self._found: dict[tuple[str, int], list[Example]] = {}

    def of(self, fit: Fit, split: Split) -> list[Example]:
        """The accepted texts for the split of a fit."""
        key = (fit.file, fit.seed)
        if key not in self._found:
            hyperparameters = Hyperparameters()
            trainer = trainer_class("pubmed_bert")(hyperparameters, self._context)
            rounds = self_train(trainer, split, self._pool(fit.file), hyperparameters.pseudo_label, report=silent)
            self._found[key] = [label.example for done in rounds for label in done.accepted]
        return self._found[key]

    def _pool(self, file: str) -> list[UnlabelledText]:
        with pool_of(self._data, file).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        texts = (join(clean(row["title"]), abstract(row["abstract"])) for row in rows)
        return [UnlabelledText(article_id=-number, text=text) for number, text in enumerate(texts, 1)]


def table(found: dict[Fit, Measured]) -> list[str]:
    """The lines of the table: mean and deviation over the seeds."""
    groups: dict[tuple[str, str, bool], list[Measured]] = defaultdict(list)
    for fit, measured in found.items():
        groups[fit.file, fit.algorithm, fit.pseudo_labels].append(measured)
    lines = [f"| data | algorithm | pseudo-labels | seeds | {' | '.join(FIGURES)} | published ROC AUC | commit |", "|---" * 10 + "|"]
    for (file, algorithm, with_labels), values in sorted(groups.items(), key=lambda one: (one[0][0], ORDER.index(one[0][1]), one[0][2])):
        cells = [_mean_and_deviation([one.figures[name] for one in values]) for name in FIGURES]
        published = PUBLISHED.get((file, algorithm, with_labels))
        cells += ["" if published is None else f"{published:.3f}", ", ".join(sorted({str(one.commit) for one in values}))]
        lines.append(f"| {file} | {algorithm} | {'on' if with_labels else 'off'} | {len(values)} | {' | '.join(cells)} |")
    return lines


def _mean_and_deviation(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {deviation:.3f}"


def main() -> int:
    """Make the fits that have no line, then print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--files", nargs="+", metavar="NAME", help="files below DIR without .csv; by default all labelled ones")
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ORDER))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pseudo-labels", nargs="+", choices=("off", "on"), default=["off"])
    parser.add_argument("--encoder", type=Path, default=Path("base_models/encoder"))
    parser.add_argument("--threads", type=int, default=cpu_count())
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--again", action="store_true", help="repeat the fits that have a line")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    present = labelled(options.data)
    files = options.files or present
    if missing := sorted(set(files or ["*"]) - set(present)):
        print(f"--data {options.data}: there is no labelled file {', '.join(missing)} (.csv). Name a folder that has it.", file=sys.stderr)
        return 2
    context = TrainerContext(encoder_dir=options.encoder, threads=options.threads, seed=SplitConfig().seed)
    accepted, done, code = Accepted(options.data, context), valid(known(options.results), files, options.data), commit()
    until = time.monotonic() + 60 * options.minutes
    for fit in planned(files, options.algorithms, options.seeds, [choice == "on" for choice in options.pseudo_labels], options.data):
        if (options.again or fit not in done) and time.monotonic() < until:
            content = content_of(fit, options.data)
            done[fit] = Measured(figures=evaluated(fit, options.data, context, accepted), content=content, commit=code)
            add(options.results, fit, done[fit])
    print("\n".join(table(done)), flush=True)
    for (file, algorithm, with_labels), published in SAME_FILE.items():
        wanted = (file, algorithm, with_labels)
        mine = [one.figures["roc_auc"] / published for fit, one in done.items() if (fit.file, fit.algorithm, fit.pseudo_labels) == wanted]
        if mine:
            labels = "with" if with_labels else "without"
            ratios.show(f"test ROC AUC, {file}, {algorithm} {labels} pseudo-labels", mine, baseline="published figure")
    return 0


if __name__ == "__main__":
    children.execute(main)
