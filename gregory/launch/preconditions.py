"""Checks of this machine before any row is written: an intact bundle, and folders in which the models can be published."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gregory.launch.errors import PreconditionFailed
from gregory.ml import bundle_limits, models_folder, storage
from gregory.ml.artifacts import version_folder
from gregory.ml.base_models import DESCRIPTION_FILE, PARTS, verify_bundle
from gregory.ml.config import TrainConfig
from gregory.ml.errors import BundleError, ConfigError
from gregory.runs.spec import PredictSpec, RunKind, RunSpec, Scope, TrainSpec, Window, new_run_id, new_token

# Models in one message.
NAMED = 6


def require_bundle(bundle_dir: Path, *, digest: str) -> None:
    """Raise PreconditionFailed if the base models are missing or damaged, or another bundle than that of this digest."""
    try:
        verify_bundle(bundle_dir, digest=digest)
    except BundleError as error:
        raise PreconditionFailed(str(error)) from error


def require_fitting_bundle(bundle_dir: Path, specs: Iterable[RunSpec]) -> None:
    """Raise PreconditionFailed if the base models cannot take as many tokens as these trainings ask for."""
    for spec in specs:
        # A model that exists predicts with its own settings and encoder.
        if not isinstance(spec, TrainSpec):
            continue
        try:
            bundle_limits.require_fit(bundle_dir, spec.config, [algorithm.algorithm for algorithm in spec.algorithms])
        except (BundleError, ConfigError) as error:
            raise PreconditionFailed(str(error)) from error


def require_readable_bundle(bundle_dir: Path) -> None:
    """Raise PreconditionFailed if the user of a container cannot read the base models. Other files of their volume do not count."""
    parts = [bundle_dir / name for name in PARTS]
    for path in (bundle_dir, bundle_dir / DESCRIPTION_FILE, *parts, *(path for part in parts for path in sorted(part.rglob("*")))):
        needed = 0o005 if path.is_dir() else 0o004
        if path.stat().st_mode & needed != needed:
            raise PreconditionFailed(f"{path} cannot be read by the containers' user; chmod -R a+rX {bundle_dir}")


def require_models_folder(models_dir: Path, specs: Sequence[RunSpec] = ()) -> None:
    """Raise PreconditionFailed if no model can be published in the folder, or none of an algorithm of these runs. Each folder is tried."""
    if problem := storage.obstacle(models_dir, models_dir):
        raise PreconditionFailed(problem)
    for models, problem in obstacles(models_dir, algorithm_folders(models_dir, specs)):
        raise PreconditionFailed(f"{models} could not be published: {problem}")


def obstacles(models_dir: Path, folders: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, str]]:
    """For each existing folder that takes no model: the names of the models that this costs, and the cause. Each is tried once."""
    costs: dict[Path, list[tuple[Path, str]]] = {}
    for folder, model in folders:
        costs.setdefault(models_folder.nearest(models_dir, folder), []).append((folder, model))
    for models in costs.values():
        if problem := storage.obstacle(models_dir, models[0][0]):
            names = [model for _, model in models]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"{', '.join(names[:NAMED])}{more}", problem


def require_writable_by(user: str, models_dir: Path, specs: Sequence[RunSpec], *, remedy: str) -> None:
    """Raise PreconditionFailed if this user, as UID:GID, cannot publish the models. Another form of the user is not checked."""
    uid, _, gid = user.partition(":")
    if not uid.isdigit() or uid == "0":
        return
    groups = {int(gid)} if gid.isdigit() else set()
    for folder in (models_dir, *(folder for folder, _ in algorithm_folders(models_dir, specs))):
        place = models_folder.nearest(models_dir, folder)
        status = place.stat()
        allowed = 0o200 if status.st_uid == int(uid) else 0o020 if status.st_gid in groups else 0o002
        if not status.st_mode & allowed:
            kind = "the models folder" if place == models_dir else "the folder"
            raise PreconditionFailed(
                f"{kind} {place} cannot be written by the containers' user {user}; chown -R {user} {models_dir}, or {remedy}"
            )


def probe_spec(kind: RunKind = RunKind.TRAIN) -> RunSpec:
    """A specification for a request that starts no run. The back end answers as it would for every run of this kind."""
    scope, window = Scope(id=0, slug="check"), Window(cutoff=None, description="none")
    common: dict[str, Any] = {"run_id": new_run_id(), "attempt_token": new_token(), "team": scope, "subject": scope, "window": window}
    if kind is RunKind.PREDICT:
        return PredictSpec(algorithms=(), digests={}, **common)
    return TrainSpec(algorithms=(), config=TrainConfig(), **common)


def algorithm_folders(models_dir: Path, specs: Sequence[RunSpec]) -> Iterator[tuple[Path, str]]:
    """The folder of each model to publish, and the name of the model for people."""
    for spec in specs:
        if spec.work is not RunKind.TRAIN:
            continue
        for algorithm in spec.algorithms:
            team, subject = spec.team.slug, spec.subject.slug
            folder = version_folder(models_dir, team=team, subject=subject, algorithm=algorithm.algorithm, version="_").parent
            yield folder, f"{algorithm.algorithm} of {spec.label}"
