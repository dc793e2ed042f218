"""The versions in the models folder, as their manifests and the files beside them describe them. The database is not needed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from gregory.ml import artifacts
from gregory.ml.absence import is_folder
from gregory.ml.config import ALGORITHMS
from gregory.ml.errors import ArtifactError
from gregory.ml.files import is_of_volume, read_json
from gregory.ml.gate import Decision, read_decisions
from gregory.ml.promotion import Version, chosen_version, complete_versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A version. labelled: reviewed articles of its training. relevant: share of the relevant ones. metrics: content of metrics.json.

    used: a prediction without a named version uses it. gate: why the gate promoted it or not, else empty.
    problem: the cause why a fact is unknown, else empty.
    """

    team: str
    subject: str
    algorithm: str
    version: str
    folder: Path
    promoted: bool
    used: bool
    created_at: datetime | None = None
    labelled: int | None = None
    relevant: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    gate: str = ""
    problem: str = ""


def algorithm_folders(
    models_dir: Path, *, team: str | None = None, subject: str | None = None, algorithms: Collection[str] = ALGORITHMS
) -> Iterator[Path]:
    """The folders of algorithms with models, in order of path. Raises OSError."""
    for team_dir in _below(models_dir, team):
        for subject_dir in _below(team_dir, subject):
            for algorithm in ALGORITHMS:
                if algorithm in algorithms and (subject_dir / algorithm).is_dir():
                    yield subject_dir / algorithm


def entries(folder: Path) -> list[Entry]:
    """The versions of an algorithm, newest first. A damaged promotion, or one of a lost version, is a problem of each. Raises OSError."""
    problem = ""
    chosen: Version | None = None
    decisions: dict[str, Decision] = {}
    try:
        chosen = chosen_version(folder.parent, folder.name)
        decisions = read_decisions(folder)
    except ArtifactError as error:
        problem = str(error)
    used, promoted = (chosen.name, chosen.promoted) if chosen else ("", False)
    names = reversed(complete_versions(folder))
    found = [_entry(folder / name, promoted=promoted and name == used, used=name == used, problem=problem) for name in names]
    return [replace(entry, gate=_words(decisions[entry.version])) if entry.version in decisions else entry for entry in found]


def _words(decision: Decision) -> str:
    return f"{'promoted' if decision.promoted else 'not promoted'}: {decision.reason}"


def _entry(folder: Path, *, promoted: bool, used: bool, problem: str) -> Entry:
    team, subject, algorithm, version = folder.parts[-4:]
    entry = Entry(
        team=team, subject=subject, algorithm=algorithm, version=version, folder=folder, promoted=promoted, used=used, problem=problem
    )
    try:
        manifest, metrics = artifacts.read_manifest(folder), read_json(folder / artifacts.METRICS)
    except (ArtifactError, OSError) as error:
        return replace(entry, problem=problem or str(error))
    return replace(
        entry,
        created_at=manifest.created_at,
        labelled=manifest.data.labelled,
        relevant=_relevant(manifest.data.parts),
        # A run writes this file, so its values may be anything.
        metrics={name: value for name, value in metrics.items() if isinstance(value, int | float)} if isinstance(metrics, dict) else {},
        warnings=manifest.warnings,
    )


def _relevant(parts: Mapping[str, Mapping[str, int]]) -> float | None:
    examples = sum(count for part in parts.values() for count in part.values())
    return sum(part.get("relevant", 0) for part in parts.values()) / examples if examples else None


def _below(folder: Path, name: str | None) -> list[Path]:
    if name is not None:
        return [folder / name] if artifacts.is_folder_name(name) and is_folder(folder / name, follow_symlinks=True) else []
    return sorted(path for path in folder.iterdir() if not is_of_volume(path.name) and path.is_dir() and not path.is_symlink())
