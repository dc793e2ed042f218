"""predict_articles --input FILE --output-file FILE: a CSV file of articles -> a ranked CSV file. No database."""

import csv
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import IO

from gregory.data.imports.errors import refuse
from gregory.data.imports.read import ImportRow, Wanted, read_file
from gregory.management.import_limits import import_limits
from gregory.management.stage_process import perform
from gregory.ml import artifacts
from gregory.ml.base_models import verify_bundle
from gregory.ml.config import Algorithm
from gregory.ml.dataset import Article, read_predictions, write_articles
from gregory.ml.errors import ArtifactError
from gregory.ml.files import link_or_copy
from gregory.ml.manifest import Manifest
from gregory.ml.promotion import chosen_version
from gregory.ml.resources import cpu_count
from gregory.ml.spreadsheet import as_cell
from gregory.ml.stages import contract
from gregory.ml.text import abstract, clean
from gregory.ml.usable_models import Texts, UsableModel, by_texts, open_version, require_base_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The numbers of articles, and of those that at least one model calls relevant."""

    articles: int
    relevant: int


def models_of(
    subject_dir: Path, algorithms: Sequence[Algorithm], *, version: str | None, named: bool, moved: Callable[[Manifest, str], bool]
) -> dict[Algorithm, UsableModel]:
    """The models of a subject. moved: as in `require_own`. Raises ArtifactError without any, and without a named one."""
    found = {}
    for algorithm in algorithms:
        chosen = chosen_version(subject_dir, algorithm, named=version)
        if chosen is not None:
            artifacts.require_own(chosen.folder, moved=moved)
            found[algorithm] = open_version(chosen.folder, artifacts.digest(chosen.folder))
        elif named:
            raise ArtifactError(f"{subject_dir / algorithm}: {f'no version {version}' if version else 'no version yet'}")
    if not found:
        raise ArtifactError(f"{subject_dir}: no model{f' of version {version}' if version else ''}; train the subject first")
    return found


def predict_file(source: Path, target: Path, models: Mapping[Algorithm, UsableModel], *, bundle_dir: Path, threshold: str | None) -> Ranked:
    """Predict the articles of a file, and write them ranked. threshold: as `thresholds` reads it, None for that of each model.

    An exception leaves the file as it was, and no other. Raises ImportRefused, TrainingError, and OSError with a remedy.
    """
    limits = {algorithm: model.threshold(threshold) for algorithm, model in models.items()}
    # Labels play no part, so no column has to be explained.
    found = read_file(source, Wanted(without_labels=True), import_limits())
    refuse(found.problems)
    rows = found.rows
    digest = verify_bundle(bundle_dir).digest()
    for model in models.values():
        require_base_models(model, bundle_dir, digest)
    probabilities: dict[Algorithm, dict[int, float]] = {}
    with _naming(gettempdir(), "free space there, or set TMPDIR"), TemporaryDirectory(prefix="gregory-predict-") as temporary:
        groups = by_texts(models.items())
        for number, (wanted, algorithms) in enumerate(groups.items()):
            texts = _summarise(Path(temporary) / f"summarise-{number}", rows, wanted, bundle_dir=bundle_dir, digest=digest)
            for algorithm in algorithms:
                probabilities[algorithm] = _predict(Path(temporary) / algorithm, texts, models[algorithm])
    return write_ranked(target, rows, {algorithm: probabilities[algorithm] for algorithm in models}, limits)


def _summarise(folder: Path, rows: Sequence[ImportRow], wanted: Texts, *, bundle_dir: Path, digest: str) -> Path:
    (folder / "in").mkdir(parents=True)
    articles = (
        Article(article_id=number, title=clean(row.title), abstract=abstract(row.summary, version=wanted.version), label=None)
        for number, row in enumerate(rows)
    )
    write_articles(folder / "in" / contract.ARTICLES, articles, version=wanted.version)
    request = contract.SummariseRequest(
        config=wanted.summariser,
        text_version=wanted.version,
        split=None,
        bundle=bundle_dir,
        bundle_digest=digest,
        threads=cpu_count(),
    )
    return perform("summarise", folder, request, say=_silent) / contract.POOL


def _predict(folder: Path, texts: Path, model: UsableModel) -> dict[int, float]:
    (folder / "in").mkdir(parents=True)
    link_or_copy(texts, folder / "in" / contract.TEXTS)
    out = perform("predict", folder, contract.PredictRequest(folder=model.folder, digest=model.digest), say=_silent)
    return {prediction.article_id: prediction.probability for prediction in read_predictions(out / contract.PREDICTIONS)}


def write_ranked(
    target: Path, rows: Sequence[ImportRow], probabilities: Mapping[Algorithm, Mapping[int, float]], limits: Mapping[Algorithm, float]
) -> Ranked:
    """Write the articles by mean probability, the highest first. The file appears when it is complete. Raises OSError with a remedy."""
    algorithms = tuple(probabilities)
    means = [sum(probabilities[algorithm][number] for algorithm in algorithms) / len(algorithms) for number in range(len(rows))]
    relevant = 0
    with _naming(target, "free space there, or give another --output-file"), _replacement(target) as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "title", *(f"probability_{name}" for name in algorithms), "probability", "consensus", "relevant"])
        for number in sorted(range(len(rows)), key=lambda number: -means[number]):
            own = [probabilities[algorithm][number] for algorithm in algorithms]
            votes = sum(probability >= limits[algorithm] for algorithm, probability in zip(algorithms, own, strict=True))
            relevant += votes > 0
            figures = [f"{value:.6f}" for value in (*own, means[number])]
            cells = [as_cell(text) for text in (rows[number].source_id, rows[number].title)]
            writer.writerow([*cells, *figures, f"{votes} of {len(algorithms)}", int(votes > 0)])
    return Ranked(articles=len(rows), relevant=relevant)


@contextmanager
def _replacement(target: Path) -> Iterator[IO[str]]:
    """A file that gets the name of the target at the end of the block, unless the block raises."""
    # Any name that fits for the target fits for this one.
    unfinished = target.with_name(f".{secrets.token_hex(4)}")
    try:
        with unfinished.open("x", encoding="utf-8", newline="") as stream:
            yield stream
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _naming(place: Path | str, remedy: str) -> Iterator[None]:
    """Raise an OSError of the block again with this place. The error of a full disk names no file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{place} cannot be written: {error.strerror}; {remedy}") from error


def _silent(message: str) -> None:
    """A table of results has no progress."""
