"""Two versions of one subject -> their comparison, by stages in processes of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings

from gregory.data import corpus
from gregory.management.stage_process import perform
from gregory.ml import artifacts
from gregory.ml.base_models import verify_bundle
from gregory.ml.comparison import Comparison, same_texts
from gregory.ml.config import ALGORITHMS
from gregory.ml.dataset import write_articles
from gregory.ml.errors import ArtifactError, DataError
from gregory.ml.manifest import Manifest
from gregory.ml.predictions import read_predictions
from gregory.ml.promotion import complete_versions
from gregory.ml.stages import contract
from gregory.ml.stages.environment import stage_threads
from gregory.models import Subject
from gregory.runs.db_retry import read_only_transaction
from gregory.training.request import UsageError

Say = Callable[[str], object]


def named_folder(subject_dir: Path, name: str, algorithms: Sequence[str] = ALGORITHMS) -> Path:
    """The version folder with the name VERSION, ALGORITHM/VERSION or TEAM/SUBJECT/ALGORITHM/VERSION.

    Raises UsageError if it is not a version of this subject, or if several algorithms have it.
    """
    *place, version = name.split("/")
    if len(place) == 3 and tuple(place[:2]) != subject_dir.parts[-2:]:
        label = "/".join(subject_dir.parts[-2:])
        raise UsageError(f"{name} is of another subject than {label}: models of two subjects answer different questions")
    if len(place) not in (0, 1, 3):
        raise UsageError(f"{name} names no version: write VERSION or ALGORITHM/VERSION")
    wanted = place[-1:] or algorithms
    known = {algorithm: complete_versions(subject_dir / algorithm) for algorithm in wanted if algorithm in ALGORITHMS}
    found = [subject_dir / algorithm / version for algorithm, names in known.items() if version in names]
    if len(found) > 1:
        raise UsageError(f"{version} is a version of {len(found)} algorithms: write {found[0].parent.name}/{version}, or give --algo")
    if not found:
        names = "; ".join(f"{algorithm}: {', '.join(names) or 'none'}" for algorithm, names in known.items()) or "none"
        raise UsageError(f"there is no version {name}; the versions: {names}")
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The two versions of a comparison."""

    first: Path
    second: Path


def compared(versions: Versions, *, minimum: int, ask: bool, say: Say) -> Comparison:
    """Compare two version folders. ask: about the reviewed articles of the database, too. Raises TrainingError and OSError."""
    with TemporaryDirectory(prefix="gregory-compare-") as temporary:
        folder = Path(temporary)
        if ask:
            _write_examples(versions, folder, say)
        places = [contract.ModelFolder(folder=one.resolve(), digest=artifacts.digest(one)) for one in (versions.first, versions.second)]
        request = contract.CompareRequest(first=places[0], second=places[1], minimum=minimum)
        out = perform("compare", folder / "compare", request, say=say)
        return Comparison.model_validate_json((out / contract.RESULT).read_text(encoding="utf-8"))


def _write_examples(versions: Versions, folder: Path, say: Say) -> None:
    """Make the texts of the reviewed articles from which neither model has learned and of which a probability is missing."""
    manifests = [artifacts.read_manifest(one) for one in (versions.first, versions.second)]
    bundle = _common_bundle(manifests)
    predictions = [read_predictions(one) or () for one in (versions.first, versions.second)]
    learned = {one.article_id for rows in predictions for one in rows if one.part == "train"}
    answered = set.intersection(*({one.article_id for one in rows if one.probability is not None} for rows in predictions))
    team, slug = versions.first.parts[-4:-2]
    # The role of commands reads no other column.
    subject = Subject.objects.filter(team__slug=team, subject_slug=slug).only("pk").first()
    if subject is None:
        raise DataError(f"the database has no subject {team}/{slug}, so no model can be asked about its articles; leave out --ask")
    version = manifests[1].data.text_version
    source = folder / "summarise" / "in"
    source.mkdir(parents=True)
    with read_only_transaction():
        present = corpus.labelled(subject.pk, None, text_version=version)
        articles = (one for one in present if one.article_id not in learned | answered)
        count = write_articles(source / contract.ARTICLES, articles, version=version)
    say(f"summarising {count} articles")
    if not count:
        return
    request = contract.SummariseRequest(
        config=manifests[1].config.hyperparameters.summariser,
        text_version=version,
        split=None,
        bundle=settings.BASE_MODELS_DIR,
        bundle_digest=bundle,
        threads=stage_threads(settings.ENVIRONMENT.OMP_NUM_THREADS),
    )
    out = perform("summarise", folder / "summarise", request, say=say)
    target = folder / "compare" / "in"
    target.mkdir(parents=True)
    (out / contract.EXAMPLES).rename(target / contract.EXAMPLES)


def _common_bundle(manifests: Sequence[Manifest]) -> str:
    """The digest of the present base models. Raises ArtifactError if another summariser made the texts of a model."""
    present = verify_bundle(settings.BASE_MODELS_DIR).digest()
    for manifest in manifests:
        if manifest.base_models.get("summariser", {}).get("bundle_sha256") != present or not same_texts(*manifests):
            place = artifacts.stated_place(manifest)
            raise ArtifactError(
                f"{place}: its texts have other summaries than the present base models make, or another text version; leave out --ask"
            )
    return present
