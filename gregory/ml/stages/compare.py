"""The stage compare: two version folders, and optional texts -> their comparison. A model is loaded only if it must be asked."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gregory.ml import artifacts, progress
from gregory.ml.comparison import Comparison
from gregory.ml.dataset import deduplicate, read_examples
from gregory.ml.errors import ArtifactError
from gregory.ml.predictions import PREDICTIONS, read_predictions
from gregory.ml.progress import Report
from gregory.ml.stages.contract import EXAMPLES, REQUEST, CompareRequest, ModelFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gregory.ml.comparer import Model


def compare(source: Path, target: Path, report: Report, resume_dir: Path) -> Comparison:
    """The comparison of two models. Raises ArtifactError if one is damaged, or does not say from which articles it has learned."""
    from gregory.ml import comparer

    request = CompareRequest.model_validate_json((source / REQUEST).read_text(encoding="utf-8"))
    examples = deduplicate(read_examples(source / EXAMPLES)).examples if (source / EXAMPLES).exists() else ()
    first, second = (_model(one, report) for one in (request.first, request.second))
    return comparer.compare(first, second, examples, minimum=request.minimum)


def _model(place: ModelFolder, report: Report) -> "Model":
    from gregory.ml.comparer import Model
    from gregory.ml.load import load_model

    if problems := artifacts.verify(place.folder, recorded=place.digest):
        raise ArtifactError("; ".join(problems))
    manifest, predictions = artifacts.read_manifest(place.folder), read_predictions(place.folder)
    if predictions is None:
        raise ArtifactError(
            f"{place.folder}: an older release trained this model and wrote no {PREDICTIONS}, so it is not known from which articles it "
            "has learned: train the subject again"
        )
    loaded = cache(lambda: load_model(place.folder, digest=place.digest))

    def predict(texts: Sequence[str]) -> "NDArray[np.float64]":
        report(progress.Progress(message=f"asking {manifest.algorithm} {manifest.provenance.version} about {len(texts)} texts"))
        return loaded().predict_proba(texts)

    return Model(
        algorithm=manifest.algorithm,
        threshold=manifest.config.prob_threshold,
        predictions=predictions,
        predict=predict,
    )
