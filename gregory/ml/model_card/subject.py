"""report.html of a subject: its versions in use, the models together, and the history. It has no script and loads no other file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Undefined
from pydantic import ValidationError

from gregory.ml.artifacts import read_manifest, verify
from gregory.ml.catalogue import Entry, algorithm_folders, entries
from gregory.ml.config import Algorithm
from gregory.ml.consensus import Consensus, Member, consensus
from gregory.ml.errors import ArtifactError
from gregory.ml.predictions import read_predictions
from gregory.ml.promoting import present
from gregory.ml.promotion import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectPage:
    """The content of the page. selections: with their algorithm, newest first. problems: why a model is not among those together."""

    team: str
    subject: str
    versions: Sequence[Entry]
    together: Consensus
    selections: Sequence[tuple[str, Selection]] = ()
    problems: Sequence[str] = field(default_factory=tuple)


def read_page(subject_dir: Path) -> SubjectPage:
    """The content of the page, from the folders of a subject. Raises OSError."""
    team, subject = subject_dir.parts[-2:]
    folders = list(algorithm_folders(subject_dir.parents[1], team=team, subject=subject))
    versions = [entry for folder in folders for entry in entries(folder)]
    members, problems = [], [entry.problem for entry in versions if entry.problem]
    for entry in versions:
        if entry.used and not entry.problem:
            member = _member(entry)
            if isinstance(member, str):
                problems.append(member)
            else:
                members.append(member)
    promotions = [(folder.name, promotion) for folder in folders if (promotion := present(folder))]
    selections = [(algorithm, one) for algorithm, promotion in promotions for one in promotion.selections]
    return SubjectPage(
        team=team,
        subject=subject,
        versions=versions,
        together=consensus(members),
        selections=sorted(selections, key=lambda pair: pair[1].at, reverse=True),
        problems=tuple(dict.fromkeys(problems)),
    )


def _member(entry: Entry) -> Member | str:
    """The model of an entry, or the sentence why it is not among the models together."""
    name = f"{entry.algorithm} {entry.version}"
    try:
        if defects := verify(entry.folder):
            return defects[0]
        predictions = read_predictions(entry.folder)
        if predictions is None:
            return f"{name}: an older release trained it and kept no predictions"
        manifest = read_manifest(entry.folder)
    except (ArtifactError, OSError, ValidationError) as error:
        return f"{name}: {error}"
    algorithm: Algorithm = manifest.algorithm
    return Member(algorithm=algorithm, version=entry.version, threshold=manifest.config.prob_threshold, predictions=predictions)


def render_subject(page: SubjectPage, *, made_at: datetime) -> str:
    """The whole page. Equal content gives equal pages."""
    environment = Environment(
        loader=PackageLoader("gregory.ml.model_card", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    environment.filters["share"] = _share
    return environment.get_template("subject.html").render(page=page, made_at=made_at.astimezone(UTC))


def _figure(value: float | Undefined | None, form: str = "%.3f") -> str:
    return form % value if isinstance(value, float | int) else "-"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "-"
