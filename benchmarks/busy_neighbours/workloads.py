"""One workload in this process: its processor time and its wall time, in seconds, without imports and loading.

    python workloads.py NAME FOLDER

It runs the code of the current folder, of this release or of an older one. Names of modules that changed since are looked up.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

# The script is in another folder than the code that it measures.
sys.path[0] = str(Path.cwd())


def threads() -> int:
    """The number that the pipeline of a run gives to each stage."""
    try:
        resources = import_module("gregory.ml.resources")
    except ModuleNotFoundError:
        resources = import_module("gregory.ml.limits")
    return int(resources.cpu_count())


def environment() -> dict[str, str]:
    """The environment that the supervisor of a run gives to each stage."""
    try:
        made: dict[str, str] = import_module("gregory.ml.stages.environment").stage_environment(os.environ)
    except ModuleNotFoundError:
        supervise = import_module("job.supervise")
        made = {**{name: os.environ[name] for name in supervise.ENVIRONMENT if name in os.environ}, **supervise.OFFLINE}
    return made


def train(name: str, folder: Path) -> Callable[[], object]:
    """Fit the trainer of an algorithm on the examples of the folder."""
    from gregory.ml.config import Algorithm, Hyperparameters
    from gregory.ml.progress import silent
    from gregory.ml.registry import trainer_class
    from gregory.ml.trainers.base import TrainerContext

    work = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    context = TrainerContext(encoder_dir=folder / "encoder", threads=threads(), seed=69)
    trainer = trainer_class(cast(Algorithm, name))(Hyperparameters.model_validate(work["hyperparameters"]), context)
    split = split_of(work["train"], work["validation"])
    return lambda: trainer.fit(split, report=silent)


def split_of(train: list[Any], validation: list[Any]) -> Any:
    """Parts of these pairs of text and label."""
    import numpy as np

    from gregory.ml.split import Part, Split

    def part(examples: list[Any]) -> Part:
        texts, labels = zip(*examples, strict=True)
        return Part(article_ids=tuple(range(len(texts))), texts=texts, labels=np.array(labels, dtype=np.int8))

    return Split(train=part(train), validation=part(validation), test=part(validation))


def summarise(name: str, folder: Path) -> Callable[[], object]:
    """Summarise the texts of the folder with BART."""
    from gregory.ml.config import SummariserConfig
    from gregory.ml.summarise import load_summariser

    batches = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    limits = SummariserConfig(max_source_tokens=64, max_new_tokens=40)
    summariser = load_summariser(folder / "summariser", limits, threads=threads())
    return lambda: [summariser.summarise(batch) for batch in batches]


def multiply(name: str, folder: Path) -> Callable[[], object]:
    """Products of matrices: NumPy's OpenBLAS, with its own threads."""
    import numpy as np

    matrix = np.random.default_rng(69).normal(size=(400, 400))
    return lambda: [matrix @ matrix for _ in range(200)]


def vectorise(name: str, folder: Path) -> Callable[[], object]:
    """The parts of scikit-learn that the stages use. None of them uses OpenMP."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.model_selection import train_test_split

    examples = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    texts, labels = zip(*examples, strict=True)

    def work() -> None:
        train_test_split(texts, labels, stratify=labels, random_state=69)
        scores = TfidfVectorizer().fit_transform(texts).sum(axis=1).A1
        roc_auc_score(labels, scores)
        average_precision_score(labels, scores)

    return work


def cluster(name: str, folder: Path) -> Callable[[], object]:
    """A part of scikit-learn with OpenMP, which no stage uses: boosting of histograms."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    generator = np.random.default_rng(69)
    rows, labels = generator.normal(size=(800, 100)), generator.integers(0, 2, 800)
    return lambda: HistGradientBoostingClassifier(max_iter=30, random_state=69).fit(rows, labels)


WORKLOADS: dict[str, Callable[[str, Path], Callable[[], object]]] = {
    "lgbm_tfidf": train,
    "lstm": train,
    "pubmed_bert": train,
    "summariser": summarise,
    "openblas": multiply,
    "scikit-learn": vectorise,
    "scikit-learn, OpenMP": cluster,
}


def main(name: str, folder: Path) -> None:
    """Print the environment of a stage, or the times of a workload, as JSON."""
    if name == "environment":
        sys.stdout.write(json.dumps(environment()))
        return
    work = WORKLOADS[name](name, folder)
    wall, processor = time.perf_counter(), time.process_time()
    work()
    times = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    sys.stdout.write(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
