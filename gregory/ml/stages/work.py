"""The functions of the stages: an input folder, an output folder. An interrupted stage continues from `resume_dir`."""

import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING

from gregory.ml import artifacts, progress
from gregory.ml.base_models import DEMO_NAME, Bundle, open_bundle
from gregory.ml.config import Algorithm, Hyperparameters, SplitConfig
from gregory.ml.dataset import (
    Article,
    Dataset,
    Example,
    UnlabelledText,
    deduplicate,
    read_articles,
    read_examples,
    read_unlabelled,
    write_texts,
)
from gregory.ml.manifest import DataFacts, Manifest, Probe, PseudoLabelFacts, PseudoLabelRound
from gregory.ml.metrics import flat
from gregory.ml.predictions import predictions, write_predictions
from gregory.ml.progress import Report
from gregory.ml.stages.contract import (
    ARTICLES,
    EXAMPLES,
    MODEL_FOLDER,
    POOL,
    PSEUDO_LABELS,
    PSEUDO_LABELS_CSV,
    REQUEST,
    GpuResult,
    PseudoLabelRequest,
    PseudoLabelResult,
    StageRequest,
    SummariseRequest,
    SummariseResult,
    TrainRequest,
    TrainResult,
)
from gregory.ml.stratification import is_certain
from gregory.ml.text import TEXT_VERSION, join

if TYPE_CHECKING:  # the summaries of a small bundle need no library
    from gregory.ml.pseudo_label import Round
    from gregory.ml.split import Split
    from gregory.ml.trainers.base import TrainedModel, TrainerContext

PROBES = 8
PROBE_CHARACTERS = 300
LIBRARIES = ("tensorflow", "keras", "keras-hub", "transformers", "tokenizers", "lightgbm", "scikit-learn", "numpy", "ctranslate2")


def find_gpu(source: Path, target: Path, report: Report, resume_dir: Path) -> GpuResult:
    """The name of the GPU. Raises NoGpu seconds after the start of the run, not after hours."""
    from gregory.ml._keras import require_gpu

    return GpuResult(name=require_gpu())


def summarise(source: Path, target: Path, report: Report, resume_dir: Path) -> SummariseResult:
    """Articles -> texts: title and summary, or only the title if there is no abstract."""
    from gregory.ml.summarise import load_summariser, summarise_all

    request = SummariseRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    articles = list(read_articles(source / ARTICLES, version=request.text_version))
    bundle = open_bundle(request.bundle)
    if request.split is not None:
        _require_split(articles, request.split)
    summariser = load_summariser(bundle.summariser_dir, request.config, threads=request.threads)
    summaries = summarise_all(
        [article.abstract for article in articles],
        summariser,
        batch_size=request.config.batch_size,
        report=report,
        resume_file=resume_dir / "summaries.jsonl",
    )
    texts = [join(article.title, summary) for article, summary in zip(articles, summaries, strict=True)]
    labelled = write_texts(target / EXAMPLES, _examples(articles, texts))
    pool = write_texts(target / POOL, _pool(articles, texts))
    title_only = sum(not article.abstract for article in articles if article.label is not None)
    return SummariseResult(labelled=labelled, title_only=title_only, pool=pool, summariser=summariser.compute)


def pseudo_label(source: Path, target: Path, report: Report, resume_dir: Path) -> PseudoLabelResult:
    """Examples and pool -> texts with pseudo-labels of BERT, for the training part of every algorithm of the run."""
    from gregory.ml.pseudo_label import self_train, write_csv
    from gregory.ml.split import stratified
    from gregory.ml.stages import libraries

    request = PseudoLabelRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    trainer_class = libraries.load("pubmed_bert")
    hyperparameters = request.config.hyperparameters
    split = stratified(deduplicate(read_examples(source / EXAMPLES)), hyperparameters.split)
    trainer = trainer_class(hyperparameters, _context(request, hyperparameters))
    pool = list(read_unlabelled(source / POOL))
    rounds = self_train(trainer, split, pool, hyperparameters.pseudo_label, report=report, resume_dir=resume_dir)
    accepted = [label for done in rounds for label in done.accepted]
    write_texts(target / PSEUDO_LABELS, (label.example for label in accepted))
    write_csv(target / PSEUDO_LABELS_CSV, accepted)
    return PseudoLabelResult(pool=len(pool), rounds=tuple(_counted(done) for done in rounds))


def train(source: Path, target: Path, report: Report, resume_dir: Path) -> TrainResult:
    """Examples -> one complete model folder. At the end the model is loaded from it and compared with its probe."""
    from gregory.ml.baseline import baseline
    from gregory.ml.evaluator import evaluate
    from gregory.ml.load import load_saved
    from gregory.ml.model_card.facts import make_card
    from gregory.ml.model_card.mistakes import find_mistakes
    from gregory.ml.model_card.page import render
    from gregory.ml.split import stratified
    from gregory.ml.stages import libraries

    request = TrainRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    trainer_class = libraries.load(request.algorithm)
    hyperparameters, threshold = request.config.hyperparameters, request.config.prob_threshold
    dataset = deduplicate(read_examples(source / EXAMPLES))
    split = stratified(dataset, hyperparameters.split, whole=request.provenance.cutoff is None)
    pseudo = list(read_examples(source / PSEUDO_LABELS)) if (source / PSEUDO_LABELS).exists() else []
    bundle = open_bundle(request.bundle)
    trainer = trainer_class(hyperparameters, _context(request, hyperparameters))
    grown = split.with_more_training(pseudo)
    model = trainer.fit(grown, report=report, checkpoint=resume_dir / "fit.npz")

    report(progress.Progress(message="evaluating"))
    scores = {"validation": model.predict_proba(split.validation.texts), "test": model.predict_proba(split.test.texts)}
    evaluation = evaluate(
        validation=(split.validation.labels, scores["validation"]),
        test=(split.test.labels, scores["test"]),
        threshold=threshold,
        history=model.history,
        baseline=baseline(grown.train, split.test.texts),
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
            pseudo_labels=request.pseudo_labels,
            parts=split.counts(),
            fingerprint=dataset.fingerprint(),
            text_version=TEXT_VERSION,
        ),
        base_models=_origins(bundle, summariser=request.summariser),
        libraries=_libraries(),
        threads=request.threads,
        compute=model.compute,
        warnings=(
            *_bundle_warnings(bundle, request.algorithm),
            *_data_warnings(dataset, request.pseudo_labels),
            *model.warnings,
            *evaluation.warnings,
        ),
        probe=_probe(model, split),
    )
    metrics = flat(evaluation.validation.metrics, evaluation.test.metrics, threshold)
    folder = target / MODEL_FOLDER
    folder.mkdir()
    model.save(folder)
    (folder / artifacts.METRICS).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder / artifacts.EVALUATION).write_text(evaluation.encode() + "\n", encoding="utf-8")
    titles = {example.article_id: example.title for example in dataset.examples} if request.card.titles else {}
    card = make_card(
        manifest,
        evaluation,
        subject_name=request.card.subject_name,
        mistakes=find_mistakes(split.test, scores["test"], threshold, titles),
    )
    (folder / artifacts.MODEL_CARD).write_text(render(card), encoding="utf-8")
    write_predictions(folder, predictions(grown, **scores, pseudo_labelled=len(pseudo)))
    artifacts.write_manifest(folder, manifest)
    report(progress.Progress(message="loading the saved model back"))
    load_saved(folder)
    return TrainResult(metrics=metrics, warnings=manifest.warnings, data=manifest.data, compute=manifest.compute)


def _require_split(articles: list[Article], config: SplitConfig) -> None:
    """Raise StratificationError before the summaries, which take hours. Equal articles get equal texts, so they would not help."""
    texts = [join(article.title, article.abstract) for article in articles]
    relevant, not_relevant = ({text for article, text in zip(articles, texts, strict=True) if article.label == label} for label in (1, 0))
    if not is_certain(len(relevant - not_relevant), len(not_relevant - relevant), config):
        from gregory.ml.split import stratified

        stratified(deduplicate(_examples(articles, texts)), config)


def _context(request: StageRequest, hyperparameters: Hyperparameters) -> "TrainerContext":
    from gregory.ml.trainers.base import TrainerContext

    return TrainerContext(
        encoder_dir=open_bundle(request.bundle).encoder_dir,
        threads=request.threads,
        seed=hyperparameters.split.seed,
        require_gpu=request.require_gpu,
    )


def _counted(done: "Round") -> PseudoLabelRound:
    relevant = sum(label.example.label for label in done.accepted)
    return PseudoLabelRound(asked=done.asked, relevant=relevant, not_relevant=len(done.accepted) - relevant)


def _examples(articles: list[Article], texts: list[str]) -> Iterator[Example]:
    for article, text in zip(articles, texts, strict=True):
        if article.label is not None:
            yield Example(article_id=article.article_id, text=text, label=article.label, title=article.title)


def _pool(articles: list[Article], texts: list[str]) -> Iterator[UnlabelledText]:
    for article, text in zip(articles, texts, strict=True):
        if article.label is None:
            yield UnlabelledText(article_id=article.article_id, text=text)


def _data_warnings(dataset: Dataset, pseudo_labels: PseudoLabelFacts | None) -> Iterator[str]:
    if dataset.conflicts:
        yield f"{dataset.conflicts} articles were left out: identical texts have both labels, relevant and not relevant"
    if pseudo_labels is not None:
        relevant, not_relevant = (
            sum(done.relevant for done in pseudo_labels.rounds),
            sum(done.not_relevant for done in pseudo_labels.rounds),
        )
        if not relevant + not_relevant:
            yield f"no pseudo-label was added: {_without_labels(pseudo_labels)}"
        elif not (relevant and not_relevant):
            only = "relevant" if relevant else "not relevant"
            yield f"all {relevant + not_relevant} pseudo-labels are {only}: they shift the balance of the classes in the training part"


def _without_labels(facts: PseudoLabelFacts) -> str:
    if not facts.pool:
        return "every article of the subject in the data window has a review"
    if not facts.rounds:
        return f"each of the {facts.pool} articles without a review has the text of another article, or no text"
    return f"no prediction for the {facts.rounds[0].asked} texts without a review reached `pseudo_label.confidence_threshold`"


def _bundle_warnings(bundle: Bundle, algorithm: Algorithm) -> Iterator[str]:
    """The demo bundle replaces both base models of the specification, so its models have their names and not their quality."""
    if bundle.description.name != DEMO_NAME:
        return
    encoder = f"the encoder is {bundle.description.encoder.source} and not BiomedBERT, " if algorithm == "pubmed_bert" else ""
    yield (
        f"trained with the demo bundle, for trials only: {encoder}the summaries are leading sentences and not those of BART; "
        "make the real bundle with prepare_base_models --replace-demo"
    )


def _origins(bundle: Bundle, *, summariser: dict[str, str]) -> dict[str, dict[str, str]]:
    """The sources and the identity of the base models. summariser: the facts of the machine that summarised."""
    parts = {"encoder": (bundle.description.encoder, {}), "summariser": (bundle.description.summariser, summariser)}
    return {
        name: {"source": part.source, "revision": part.revision, "licence": part.licence, "bundle_sha256": bundle.digest(), **facts}
        for name, (part, facts) in parts.items()
    }


def _probe(model: "TrainedModel", split: "Split") -> Probe:
    texts = tuple(text[:PROBE_CHARACTERS] for text in split.test.texts[:PROBES])
    return Probe(texts=texts, probabilities=tuple(float(value) for value in model.predict_proba(texts)))


def _libraries() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: library_version(name) for name in LIBRARIES}}
