"""The weights of a Hugging Face folder: a pickle is read only with a known checksum."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from gregory.ml.errors import BundleError
from gregory.ml.preparation import real
from gregory.ml.preparation.pins import PICKLE, SAFETENSORS, Pin
from gregory.ml.progress import silent
from tests.planted import Payload

PIN = Pin(part="encoder", repository="somebody/tiny-bert", revision="0" * 40, licence="MIT", sha256={})


def written(folder: Path, name: str, content: bytes) -> str:
    """The checksum of the new file."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def refusal(pin: Pin, folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        real.source(pin, folder, report=silent)
    return str(caught.value)


def test_a_pickle_is_refused_and_has_no_effect(tmp_path: Path):
    model = tmp_path / "model"
    digest = written(model, PICKLE, pickle.dumps(Payload(tmp_path / "effect")))

    assert refusal(PIN, model) == (
        f"--encoder-dir: {model / PICKLE} is a pickle, which can run code, and this release does not know its sha256 {digest}; "
        f"use a folder with {SAFETENSORS}, or compare the value with that of the author and give --encoder-sha256 {digest}"
    )
    assert not (tmp_path / "effect").exists()


def test_a_pickle_with_the_checksum_of_the_release_or_of_the_operator_is_used(tmp_path: Path):
    digest = written(tmp_path, PICKLE, b"weights")

    for pin in (replace(PIN, sha256={PICKLE: digest}), replace(PIN, given=digest)):
        assert real.source(pin, tmp_path, report=silent) == real.Source(folder=tmp_path, weights=PICKLE, sha256=digest)


def test_a_checksum_of_other_weights_does_not_admit_a_pickle(tmp_path: Path):
    digest = written(tmp_path, PICKLE, b"weights")

    assert "is a pickle" in refusal(replace(PIN, sha256={SAFETENSORS: digest}), tmp_path)


def test_safetensors_are_preferred_and_need_no_checksum(tmp_path: Path):
    digest = written(tmp_path, SAFETENSORS, b"data")
    written(tmp_path, PICKLE, b"weights")

    assert real.source(PIN, tmp_path, report=silent) == real.Source(folder=tmp_path, weights=SAFETENSORS, sha256=digest)


@pytest.mark.parametrize("name", [SAFETENSORS, PICKLE])
def test_weights_that_differ_from_the_checksum_of_the_operator_are_refused(name: str, tmp_path: Path):
    digest = written(tmp_path, name, b"weights")

    expected = f"--encoder-sha256 is {'1' * 64}, but {tmp_path / name} has the sha256 {digest}"
    assert refusal(replace(PIN, given="1" * 64), tmp_path) == expected


def test_folders_without_weights_are_named(tmp_path: Path):
    assert refusal(PIN, tmp_path / "absent") == f"--encoder-dir: there is no folder {tmp_path / 'absent'}"
    assert refusal(PIN, tmp_path) == f"--encoder-dir: {tmp_path} holds none of {SAFETENSORS}, {PICKLE}"
