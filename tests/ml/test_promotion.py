"""The version that a prediction uses."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gregory.ml.errors import ArtifactError
from gregory.ml.promotion import Promotion, Selection, chosen_version, complete_versions

AT = datetime(2026, 1, 2, tzinfo=UTC)


def versions(subject: Path, *names: str) -> Path:
    for name in names:
        (subject / "lstm" / name).mkdir(parents=True)
        (subject / "lstm" / name / "manifest.json").write_text("{}")
    return subject / "lstm"


def test_versions_are_sorted_as_gregoryai_does(tmp_path: Path):
    folder = versions(tmp_path, "20250518_10", "20250518_2", "20250518", "20250601", "zebra", "alpha", "2025")

    assert complete_versions(folder) == ["2025", "alpha", "zebra", "20250518", "20250518_2", "20250518_10", "20250601"]


def test_the_newest_version_is_chosen(tmp_path: Path):
    folder = versions(tmp_path, "20250518_2", "20250518_10", "zebra")
    (folder / "20260101").mkdir()  # of GregoryAI, without a manifest
    (folder / ".snapshot").mkdir()

    version = chosen_version(tmp_path, "lstm")

    assert version is not None
    assert (version.name, version.folder, version.promoted) == ("20250518_10", folder / "20250518_10", False)


def test_there_is_no_version(tmp_path: Path):
    assert chosen_version(tmp_path, "lstm") is None


def test_the_promoted_version_comes_before_the_newest_and_a_named_one_before_both(tmp_path: Path):
    folder = versions(tmp_path, "20250518", "20250519", "20250520")
    (folder / "promoted.json").write_text(Promotion(version="20250519", at=AT, by="ann on host", reason="better").model_dump_json())

    chosen, named = chosen_version(tmp_path, "lstm"), chosen_version(tmp_path, "lstm", named="20250518")

    assert chosen is not None
    assert named is not None
    assert (chosen.name, chosen.promoted, named.name, named.promoted) == ("20250519", True, "20250518", False)
    assert chosen_version(tmp_path, "lstm", named="20240101") is None


def test_a_promoted_version_without_a_folder_is_an_error(tmp_path: Path):
    folder = versions(tmp_path, "20250518")
    (folder / "promoted.json").write_text(Promotion(version="20250519", at=AT, by="ann").model_dump_json())

    with pytest.raises(ArtifactError) as caught:
        chosen_version(tmp_path, "lstm")

    promoted = folder / "promoted.json"
    expected = f"{folder}: version 20250519 is promoted and has no folder; restore it, promote another, or delete {promoted}"
    assert str(caught.value) == expected


def test_a_damaged_promotion_is_an_error(tmp_path: Path):
    folder = versions(tmp_path, "20250518")
    (folder / "promoted.json").write_text("{}")

    with pytest.raises(ArtifactError, match=r"promoted.json is damaged: Field required; promote a version again"):
        chosen_version(tmp_path, "lstm")


def changes(*names: str) -> Promotion:
    """The promotion after these changes in order. "<B": a rollback to B."""
    made = [
        Selection(version=name.lstrip("<"), at=AT, by="ann", action="rollback" if name.startswith("<") else "promote") for name in names
    ]
    return Promotion(**made[-1].model_dump(), history=tuple(made[:-1]))


@pytest.mark.parametrize(
    ("names", "previous"),
    [
        (["A"], None),
        (["A", "B"], "A"),
        (["A", "B", "C"], "B"),
        (["A", "B", "C", "<B"], "A"),
        (["A", "B", "C", "<B", "<A"], None),
        (["A", "B", "<A", "C"], "A"),
    ],
)
def test_a_rollback_goes_to_the_version_before_and_never_to_a_withdrawn_one(names: list[str], previous: str | None):
    assert changes(*names).previous == previous
