"""Stages as processes: a folder in, a folder out, progress as JSON lines on standard output.

    python -m gregory.ml.stages train --in D --out D

works by hand as it does under a supervisor. The result appears under its name only when it is complete; until then,
and after a failure, it is `<out>.partial`, where error.json says what happened. No Django, no credentials, no network.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from gregory.ml import artifacts, errors, lifeline, progress
from gregory.ml.artifacts import DataFacts, Manifest, Probe, Provenance
from gregory.ml.base_models import DESCRIPTION_FILE, Bundle, open_bundle
from gregory.ml.config import Algorithm, SummariserConfig, TrainConfig
from gregory.ml.data import (
    TEXT_VERSION,
    Article,
    Dataset,
    Example,
    UnlabelledText,
    deduplicate,
    join,
    read_articles,
    read_examples,
    read_unlabelled,
    write_rows,
)
from gregory.ml.load import load_model
from gregory.ml.metrics import flat
from gregory.ml.progress import Report
from gregory.ml.registry import trainer_class
from gregory.ml.split import Split, stratified
from gregory.ml.trainers.base import TrainedModel, TrainerContext

REQUEST = "request.json"
RESULT = "result.json"
ERROR = "error.json"
ARTICLES = "articles.jsonl"
EXAMPLES = "examples.jsonl"
POOL = "pool.jsonl"
PSEUDO_LABELS = "pseudo_labels.jsonl"
PSEUDO_LABELS_CSV = "pseudo_labels.csv"
MODEL_FOLDER = "model"

PROBES = 8
PROBE_CHARACTERS = 300
LIBRARIES = ("tensorflow", "keras", "keras-hub", "transformers", "tokenizers", "lightgbm", "scikit-learn", "numpy", "ctranslate2")

# What a supervisor may want to tell apart; the first class that fits wins.
KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (errors.DataError, "bad_data"),
    (errors.ConfigError, "bad_config"),
    (errors.BundleError, "base_models"),
    (errors.ArtifactError, "artifact"),
    (errors.MemoryExhausted, "out_of_memory"),
    (MemoryError, "out_of_memory"),
)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SummariseRequest(_Value):
    """In: articles.jsonl, labelled and not. Out: examples.jsonl, pool.jsonl."""

    bundle: Path
    config: SummariserConfig
    threads: int


class SummariseResult(_Value):
    """labelled: labelled articles; title_only: those of them without an abstract; pool: unlabelled articles."""

    labelled: int
    title_only: int
    pool: int


class PseudoLabelRequest(_Value):
    """In: examples.jsonl, pool.jsonl. Out: pseudo_labels.jsonl, pseudo_labels.csv."""

    bundle: Path
    config: TrainConfig
    threads: int


class PseudoLabelResult(_Value):
    """How many texts each round accepted."""

    accepted_per_round: tuple[int, ...]


class TrainRequest(_Value):
    """In: examples.jsonl, and pseudo_labels.jsonl where there are some. Out: the sealed model folder."""

    algorithm: Algorithm
    bundle: Path
    config: TrainConfig
    threads: int
    provenance: Provenance
    title_only: int


class TrainResult(_Value):
    """What the ledger keeps of a training."""

    metrics: dict[str, float]
    warnings: tuple[str, ...]


class StageError(_Value):
    """error.json of a failed stage."""

    kind: str
    message: str
    traceback: str


def summarise(source: Path, target: Path, report: Report) -> SummariseResult:
    """Articles -> texts: title and generated summary, title alone where there is no abstract."""
    from gregory.ml.summarise import load_summariser, summarise_all

    request = SummariseRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    articles = list(read_articles(source / ARTICLES))
    summariser = load_summariser(open_bundle(request.bundle).summariser_dir, request.config, threads=request.threads)
    summaries = summarise_all([article.abstract for article in articles], summariser, batch_size=request.config.batch_size, report=report)
    texts = [join(article.title, summary) for article, summary in zip(articles, summaries, strict=True)]
    labelled = write_rows(target / EXAMPLES, _examples(articles, texts))
    pool = write_rows(target / POOL, _pool(articles, texts))
    title_only = sum(not article.abstract for article in articles if article.label is not None)
    return SummariseResult(labelled=labelled, title_only=title_only, pool=pool)


def pseudo_label(source: Path, target: Path, report: Report) -> PseudoLabelResult:
    """Examples and pool -> texts that BERT labelled itself, for the training part of every algorithm of the run."""
    from gregory.ml.pseudo_label import self_train, write_csv

    request = PseudoLabelRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    hyperparameters = request.config.hyperparameters
    split = stratified(deduplicate(read_examples(source / EXAMPLES)), hyperparameters.split)
    context = TrainerContext(encoder_dir=open_bundle(request.bundle).encoder_dir, threads=request.threads, seed=hyperparameters.split.seed)
    trainer = trainer_class("pubmed_bert")(hyperparameters, context)
    rounds = self_train(trainer, split, list(read_unlabelled(source / POOL)), hyperparameters.pseudo_label, report=report)
    accepted = [label for labels in rounds for label in labels]
    write_rows(target / PSEUDO_LABELS, (label.example for label in accepted))
    write_csv(target / PSEUDO_LABELS_CSV, accepted)
    return PseudoLabelResult(accepted_per_round=tuple(len(labels) for labels in rounds))


def train(source: Path, target: Path, report: Report) -> TrainResult:
    """Examples -> one sealed model folder, loaded back and asked its probes before it counts as done."""
    from gregory.ml.evaluation import evaluate
    from gregory.ml.factsheet import report_input
    from gregory.ml.model_report import render

    request = TrainRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    hyperparameters, threshold = request.config.hyperparameters, request.config.prob_threshold
    dataset = deduplicate(read_examples(source / EXAMPLES))
    split = stratified(dataset, hyperparameters.split)
    pseudo = list(read_examples(source / PSEUDO_LABELS)) if (source / PSEUDO_LABELS).exists() else []
    bundle = open_bundle(request.bundle)
    context = TrainerContext(encoder_dir=bundle.encoder_dir, threads=request.threads, seed=hyperparameters.split.seed)
    model = trainer_class(request.algorithm)(hyperparameters, context).fit(split.with_more_training(pseudo), report=report)

    report(progress.Progress(message="evaluating"))
    evaluation = evaluate(
        validation=(split.validation.labels, model.predict_proba(split.validation.texts)),
        test=(split.test.labels, model.predict_proba(split.test.texts)),
        threshold=threshold,
        history=model.history,
    )
    manifest = Manifest(
        algorithm=request.algorithm,
        provenance=request.provenance,
        created_at=datetime.now(UTC),
        config=request.config,
        data=DataFacts(
            cutoff=request.provenance.cutoff,
            window=request.provenance.window,
            labelled=len(dataset.examples) + dataset.duplicates + dataset.conflicts,
            title_only=request.title_only,
            duplicates=dataset.duplicates,
            conflicts=dataset.conflicts,
            pseudo_labelled=len(pseudo),
            parts=split.counts(),
            fingerprint=dataset.fingerprint(),
            text_version=TEXT_VERSION,
        ),
        base_models=_origins(bundle),
        libraries=_libraries(),
        threads=request.threads,
        warnings=(*_data_warnings(dataset), *evaluation.warnings),
        probe=_probe(model, split),
    )
    metrics = flat(evaluation.validation.metrics, evaluation.test.metrics, threshold)
    folder = target / MODEL_FOLDER
    folder.mkdir()
    model.save(folder)
    (folder / artifacts.METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder / artifacts.EVALUATION).write_text(evaluation.encode() + "\n", encoding="utf-8")
    (folder / artifacts.REPORT).write_text(render(report_input(manifest, evaluation)), encoding="utf-8")
    artifacts.seal(folder, manifest)
    report(progress.Progress(message="loading the saved model back"))
    load_model(folder)
    return TrainResult(metrics=metrics, warnings=manifest.warnings)


def _examples(articles: list[Article], texts: list[str]) -> Iterator[Example]:
    for article, text in zip(articles, texts, strict=True):
        if article.label is not None:
            yield Example(article_id=article.article_id, text=text, label=article.label)


def _pool(articles: list[Article], texts: list[str]) -> Iterator[UnlabelledText]:
    for article, text in zip(articles, texts, strict=True):
        if article.label is None:
            yield UnlabelledText(article_id=article.article_id, text=text)


def _data_warnings(dataset: Dataset) -> tuple[str, ...]:
    if not dataset.conflicts:
        return ()
    return (f"{dataset.conflicts} articles were left out: their texts are identical and labelled both relevant and not relevant",)


def _origins(bundle: Bundle) -> dict[str, dict[str, str]]:
    """Where the base models come from; bundle.json holds the checksum of each of their files, its own stands for them."""
    parts = {"encoder": bundle.description.encoder, "summariser": bundle.description.summariser}
    digest = hashlib.sha256((bundle.root / DESCRIPTION_FILE).read_bytes()).hexdigest()
    return {
        name: {"source": part.source, "revision": part.revision, "licence": part.licence, "bundle_sha256": digest}
        for name, part in parts.items()
    }


def _probe(model: TrainedModel, split: Split) -> Probe:
    texts = tuple(text[:PROBE_CHARACTERS] for text in split.test.texts[:PROBES])
    return Probe(texts=texts, probabilities=tuple(float(value) for value in model.predict_proba(texts)))


def _libraries() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: library_version(name) for name in LIBRARIES}}


def kind_of(error: BaseException) -> str:
    """The word for an error that rows and supervisors use."""
    return next((kind for cls, kind in KINDS if isinstance(error, cls)), "error")


def _describe(error: BaseException) -> StageError:
    return StageError(kind=kind_of(error), message=str(error) or type(error).__name__, traceback=traceback.format_exc())


def perform(stage: str, source: Path, target: Path, report: Report) -> int:
    """Run one stage; the exit code. `target` exists afterwards only when the stage succeeded."""
    unfinished = target.with_name(f"{target.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        result = STAGES[stage](source, unfinished, report)
        (unfinished / RESULT).write_text(result.model_dump_json(indent=2), encoding="utf-8")
        unfinished.rename(target)
    except Exception as error:  # noqa: BLE001 - the one place around a stage where whatever happened becomes its outcome
        _explain(_describe(error), unfinished, report)
        return 1
    return 0


def _explain(error: StageError, unfinished: Path, report: Report) -> None:
    """Leave error.json behind; the disk may be what is full."""
    # What a failed stage wrote helps nobody, and gone it makes room.
    shutil.rmtree(unfinished, ignore_errors=True)
    with suppress(OSError):
        sys.stderr.write(error.traceback)
    described = unfinished / ERROR
    try:
        unfinished.mkdir(parents=True)
        described.write_text(error.model_dump_json(), encoding="utf-8")
    except OSError:
        with suppress(OSError):
            described.unlink()  # half an explanation is none
        # A pipe needs no disk.
        report(progress.Progress(message=f"failed: {error.message}"))


STAGES: dict[str, Callable[[Path, Path, Report], BaseModel]] = {"summarise": summarise, "pseudo_label": pseudo_label, "train": train}


def main(arguments: list[str] | None = None) -> int:
    """The command line of a stage; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gregory.ml.stages", description=__doc__.partition("\n")[0])
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--in", dest="source", type=Path, required=True, help="folder with request.json and the stage's input")
    parser.add_argument("--out", dest="target", type=Path, required=True, help="folder to make; must not exist")
    parser.add_argument("--lifeline", action="store_true", help="exit at once when standard input closes")
    options = parser.parse_args(arguments)
    if options.target.exists():
        parser.error(f"--out {options.target} exists already")
    if options.lifeline:
        lifeline.watch(sys.stdin.fileno(), lambda: os._exit(1))
    # Libraries print what they like; standard output belongs to the progress lines alone.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return perform(options.stage, options.source, options.target, progress.writer(lines))


if __name__ == "__main__":
    sys.exit(main())
