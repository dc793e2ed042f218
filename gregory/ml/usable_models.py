"""Version folders that can predict here: intact, of a known text version, and of the base models of this installation."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from gregory.ml import artifacts, thresholds
from gregory.ml.config import SummariserConfig
from gregory.ml.errors import ArtifactError, BundleError, ConfigError
from gregory.ml.evaluation import Evaluation
from gregory.ml.files import read_text
from gregory.ml.manifest import Manifest
from gregory.ml.text import require_version

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The settings that make the texts of a model."""

    summariser: SummariserConfig
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableModel:
    """A version folder that was compared with its manifest. digest: sha256 of the manifest."""

    folder: Path
    digest: str
    manifest: Manifest

    def threshold(self, choice: str | None) -> float:
        """The probability from which a text is relevant. None: as configured for its training. Raises as `chosen_threshold`."""
        return self.manifest.config.prob_threshold if choice is None else chosen_threshold(self.folder, choice)

    @property
    def texts(self) -> Texts:
        """The settings of its texts."""
        return Texts(summariser=self.manifest.config.hyperparameters.summariser, version=self.manifest.data.text_version)


def chosen_threshold(folder: Path, choice: str) -> float:
    """The threshold that a version folder has for a choice of `thresholds`. Raises ConfigError, ArtifactError and OSError."""
    wanted = thresholds.parse(choice)
    if wanted.number is not None:
        return wanted.number
    try:
        evaluation = Evaluation.model_validate_json(read_text(folder / artifacts.EVALUATION))
    except ValidationError as error:
        raise ArtifactError(f"{folder / artifacts.EVALUATION}: damaged; train the subject again") from error
    try:
        return thresholds.threshold(evaluation, choice)
    except ConfigError as error:
        raise ConfigError(f"{folder}: {error}") from error


def open_version(folder: Path, digest: str) -> UsableModel:
    """The model of a version folder. Reads every byte and loads nothing. Raises ArtifactError and OSError."""
    if problems := artifacts.verify(folder, recorded=digest):
        raise ArtifactError("; ".join(problems))
    manifest = artifacts.read_manifest(folder)
    require_version(
        manifest.data.text_version,
        subject=f"{folder}: the model",
        remedy="train the subject again, or predict with the release that trained it",
    )
    return UsableModel(folder=folder, digest=digest, manifest=manifest)


def require_base_models(model: UsableModel, bundle_dir: Path, bundle_digest: str) -> None:
    """Raise BundleError, with both bundles, if the texts of the training had another summariser."""
    trained = model.manifest.base_models.get("summariser", {})
    if trained.get("bundle_sha256") != bundle_digest:
        raise BundleError(
            f"{model.folder}: the model was trained with base models {trained.get('bundle_sha256', 'of an unknown sha256')[:12]} "
            f"({trained.get('source', 'an unknown summariser')}), and {bundle_dir} has {bundle_digest[:12]}: "
            "install the base models of the training, or train the subject again"
        )


def by_texts(models: Iterable[tuple[Key, UsableModel]]) -> dict[Texts, list[Key]]:
    """The keys of the models that have the same texts, by the settings of the texts."""
    groups: dict[Texts, list[Key]] = {}
    for key, model in models:
        groups.setdefault(model.texts, []).append(key)
    return groups
