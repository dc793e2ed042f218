"""Manifest -> facts of the model card: data, base models, settings, libraries and hardware."""

from gregory.ml.config import Algorithm
from gregory.ml.evaluation import Evaluation
from gregory.ml.manifest import DataFacts, Manifest
from gregory.ml.model_card.mistakes import NO_MISTAKES, Mistakes
from gregory.ml.model_card.page import FactSection, ModelCard

# The facts of the machine that change summaries, in the manifest beside the source of the summariser.
SUMMARISER_FACTS = ("ctranslate2", "device", "compute_type", "instructions")


# The libraries that give the probabilities. The manifest has the versions of all.
LIBRARIES: dict[Algorithm, tuple[str, ...]] = {
    "pubmed_bert": ("tensorflow", "keras", "keras-hub", "transformers", "tokenizers", "numpy"),
    "lgbm_tfidf": ("lightgbm", "scikit-learn", "numpy"),
    "lstm": ("tensorflow", "keras", "tokenizers", "numpy"),
}


def make_card(manifest: Manifest, evaluation: Evaluation, *, subject_name: str = "", mistakes: Mistakes = NO_MISTAKES) -> ModelCard:
    """The content of the page, in reading order. subject_name: the heading, or empty for the slug."""
    provenance = manifest.provenance
    return ModelCard(
        team=provenance.team,
        subject=provenance.subject,
        subject_name=subject_name or provenance.subject,
        algorithm=manifest.algorithm,
        version=provenance.version,
        trained_at=manifest.created_at,
        run_id=provenance.run_id,
        run_log_id=provenance.run_log_id,
        # The page has the warnings about the data and about the model.
        evaluation=evaluation.model_copy(update={"warnings": manifest.warnings}),
        train_counts=manifest.data.parts["train"],
        sections=(_data(manifest), _base_models(manifest), _settings(manifest), _compute(manifest)),
        mistakes=mistakes,
        step="round" if manifest.algorithm == "lgbm_tfidf" else "epoch",
    )


def _data(manifest: Manifest) -> FactSection:
    data = manifest.data
    return FactSection(
        heading="Data",
        facts=(
            ("window", data.window),
            ("labelled articles", str(data.labelled)),
            ("labelled articles without an abstract (title only)", str(data.title_only)),
            ("left out: repeated text", str(data.duplicates)),
            ("left out: text with both labels", str(data.conflicts)),
            ("pseudo-labelled texts in training", str(data.pseudo_labelled)),
            *_pseudo_labels(data),
            ("sha256 of the data set", data.fingerprint),
        ),
    )


def _pseudo_labels(data: DataFacts) -> tuple[tuple[str, str], ...]:
    if data.pseudo_labels is None:
        return ()
    rounds = ((f"accepted in round {number}", done) for number, done in enumerate(data.pseudo_labels.rounds, start=1))
    accepted = ((name, f"{done.relevant} relevant, {done.not_relevant} not relevant of {done.asked}") for name, done in rounds)
    return (("unlabelled articles in the pool", str(data.pseudo_labels.pool)), *accepted, ("pseudo-labels", data.pseudo_labels.file))


def _base_models(manifest: Manifest) -> FactSection:
    # Only BERT starts from the encoder. The summariser comes before every algorithm.
    used = ("encoder", "summariser") if manifest.algorithm == "pubmed_bert" else ("summariser",)
    models = {name: base for name, base in manifest.base_models.items() if name in used}
    summariser = models.get("summariser", {})
    return FactSection(
        heading="Base models",
        facts=(
            *((name, f"{base['source']}, revision {base['revision']}") for name, base in models.items()),
            *((f"summaries: {name.replace('_', ' ')}", summariser[name]) for name in SUMMARISER_FACTS if name in summariser),
        ),
    )


def _settings(manifest: Manifest) -> FactSection:
    hyperparameters = manifest.config.hyperparameters
    section = {"pubmed_bert": hyperparameters.bert, "lgbm_tfidf": hyperparameters.lgbm, "lstm": hyperparameters.lstm}[manifest.algorithm]
    values = {**section.model_dump(), "split seed": hyperparameters.split.seed, "probability threshold": manifest.config.prob_threshold}
    return FactSection(heading="Settings", facts=tuple((name.replace("_", " "), str(value)) for name, value in values.items()))


def _compute(manifest: Manifest) -> FactSection:
    image = (("image", manifest.provenance.image_digest),) if manifest.provenance.image_digest else ()
    compute = ((name.replace("_", " "), str(value)) for name, value in manifest.compute.items())
    used = ("python", *LIBRARIES[manifest.algorithm])
    libraries = ((name, manifest.libraries[name]) for name in used if name in manifest.libraries)
    return FactSection(heading="Libraries and hardware", facts=(*libraries, ("threads", str(manifest.threads)), *compute, *image))
