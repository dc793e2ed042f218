"""A complete model gets another row and version before it is published."""

from dataclasses import replace
from pathlib import Path

import pytest

from gregory.ml import artifacts
from gregory.ml.model_card.page import render
from gregory.ml.renaming import state_row
from tests.ml.test_model_card import ROUNDS, card_of
from tests.published import manifest

CARD = replace(card_of(ROUNDS, n=40), algorithm="lgbm_tfidf", version="20260101")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "model"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"weights")
    (folder / artifacts.MODEL_CARD).write_text(render(CARD), encoding="utf-8")
    artifacts.write_manifest(folder, manifest())
    return folder


def test_manifest_and_model_card_state_the_new_version(model: Path):
    before = artifacts.read_manifest(model)

    state_row(model, 1, "20260101_2")

    after = artifacts.read_manifest(model)
    assert after.provenance == before.provenance.model_copy(update={"version": "20260101_2"})
    assert after.files["weights"] == before.files["weights"]
    assert (model / artifacts.MODEL_CARD).read_text(encoding="utf-8") == render(replace(CARD, version="20260101_2"))
    assert artifacts.verify(model) == []
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_a_link_to_the_files_keeps_the_old_version(model: Path, tmp_path: Path):
    linked = {name: tmp_path / name for name in (artifacts.MANIFEST, artifacts.MODEL_CARD)}
    for name, link in linked.items():
        link.hardlink_to(model / name)
    before = {name: link.read_bytes() for name, link in linked.items()}

    state_row(model, 1, "20260101_2")

    assert {name: link.read_bytes() for name, link in linked.items()} == before


def test_a_second_call_completes_a_change_that_ended_after_the_model_card(model: Path):
    old = (model / artifacts.MANIFEST).read_bytes()
    state_row(model, 1, "20260101_2")
    (model / artifacts.MANIFEST).write_bytes(old)

    state_row(model, 1, "20260101_3")

    assert artifacts.verify(model) == []
    assert (model / artifacts.MODEL_CARD).read_text(encoding="utf-8") == render(replace(CARD, version="20260101_3"))


def test_another_row_of_the_same_version_changes_the_manifest_alone(model: Path):
    before = artifacts.read_manifest(model)
    card = (model / artifacts.MODEL_CARD).read_bytes()

    state_row(model, 7, "20260101")

    after = artifacts.read_manifest(model)
    assert after == before.model_copy(update={"provenance": before.provenance.model_copy(update={"run_log_id": 7})})
    assert (model / artifacts.MODEL_CARD).read_bytes() == card
