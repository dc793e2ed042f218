"""A LightGBM model is loaded from data files. A pickle in its folder is read only for an old model and on explicit request."""

import json
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError
from gregory.ml.load import load_model
from gregory.ml.manifest import Probe
from gregory.ml.split import Split
from gregory.ml.trainers.lgbm import LgbmModel
from tests.ml.test_lgbm_trainer import fit, part
from tests.planted import PICKLES, plant, reseal
from tests.published import manifest

TEXTS = (*part(300, 5).texts, "", "unseen words only", "MYELIN in a lesion, of THE patient's lesions")
DATA_FILES = ("lgbm_classifier.txt", "tfidf_vectorizer.json")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The version folder of a trained model."""
    model, folder = fit(rounds=100), tmp_path / "lgbm_tfidf" / "20260101"
    folder.mkdir(parents=True)
    model.save(folder)
    probe = Probe(texts=TEXTS[:3], probabilities=tuple(model.predict_proba(TEXTS[:3]).tolist()))
    artifacts.write_manifest(folder, manifest().model_copy(update={"probe": probe}))
    return folder


@pytest.fixture
def old_version(version: Path) -> Path:
    """The folder as an older release wrote it."""
    for name in DATA_FILES:
        (version / name).unlink()
    reseal(version)
    return version


def probabilities_of_the_pickles(folder: Path) -> np.ndarray:
    """The answers of another program, which uses the files of the specification."""
    classifier, vectoriser = (joblib.load(folder / name) for name in PICKLES)
    return classifier.predict_proba(vectoriser.transform(TEXTS))[:, 1]


def test_the_data_files_give_exactly_the_probabilities_of_the_pickles(version: Path) -> None:
    expected = probabilities_of_the_pickles(version)
    assert len(set(expected)) > 100
    np.testing.assert_array_equal(load_model(version).predict_proba(TEXTS), expected)


def test_a_model_without_splits_is_equal_after_saving_and_loading(tmp_path: Path) -> None:
    model = fit(Split(train=part(4, 1), validation=part(4, 2), test=part(0, 3)))
    model.save(tmp_path)
    np.testing.assert_array_equal(LgbmModel.load(tmp_path, threads=1).predict_proba(TEXTS), probabilities_of_the_pickles(tmp_path))


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_no_pickle_is_read_beside_the_data_files(version: Path, tmp_path: Path, allow_pickle: bool) -> None:
    expected = probabilities_of_the_pickles(version)
    plant(version, tmp_path / "effect")

    np.testing.assert_array_equal(load_model(version, allow_pickle=allow_pickle).predict_proba(TEXTS), expected)

    assert not (tmp_path / "effect").exists()


def test_a_pickle_without_data_files_is_refused_with_the_remedy(old_version: Path, tmp_path: Path) -> None:
    plant(old_version, tmp_path / "effect")

    with pytest.raises(ArtifactError) as caught:
        load_model(old_version)

    assert str(caught.value) == (
        f"{old_version}: an older release saved this model as pickles only, and a pickle can execute any code: "
        "train the subject again, or, if you trust the folder, load it with load_model(folder, allow_pickle=True)"
    )
    assert not (tmp_path / "effect").exists()


def test_the_flag_permits_the_pickles_of_an_old_folder(old_version: Path) -> None:
    before = sorted(old_version.iterdir())

    loaded = load_model(old_version, digest=artifacts.digest(old_version), allow_pickle=True)

    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), probabilities_of_the_pickles(old_version))
    assert sorted(old_version.iterdir()) == before


def test_the_planted_pickle_has_an_effect_if_it_is_read(old_version: Path, tmp_path: Path) -> None:
    plant(old_version, tmp_path / "effect")

    # The second pickle makes the folder of the first again.
    with pytest.raises(FileExistsError):
        load_model(old_version, allow_pickle=True)

    assert (tmp_path / "effect").is_dir()


def test_a_replaced_manifest_has_another_digest(version: Path, tmp_path: Path) -> None:
    digest = artifacts.digest(version)
    load_model(version, digest=digest)
    plant(version, tmp_path / "effect")

    with pytest.raises(ArtifactError, match="its manifest was replaced since training"):
        load_model(version, digest=digest, allow_pickle=True)

    assert not (tmp_path / "effect").exists()


def test_a_loaded_model_can_be_saved_and_loaded_again(version: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    model = load_model(version)
    model.save(tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(DATA_FILES)
    np.testing.assert_array_equal(LgbmModel.load(tmp_path / "again", threads=1).predict_proba(TEXTS), model.predict_proba(TEXTS))


def with_a_tokenizer(text: str) -> str:
    return json.dumps({**json.loads(text), "tokenizer": "os.system"})


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("tfidf_vectorizer.json", with_a_tokenizer, "does not hold a vectoriser"),
        ("tfidf_vectorizer.json", lambda text: text.replace('"idf": [', '"idf": [1.5,'), "does not hold a vectoriser"),
        ("lgbm_classifier.txt", lambda text: text[:5], "does not hold a LightGBM model"),
    ],
)
def test_a_forged_data_file_is_named(version: Path, name: str, change: Callable[[str], str], problem: str) -> None:
    (version / name).write_text(change((version / name).read_text()))
    reseal(version)

    with pytest.raises(ArtifactError) as caught:
        load_model(version)

    assert str(caught.value).startswith(f"{version / name} {problem}: ")
    assert str(caught.value).endswith("; train the model again")


def test_loading_and_predicting_print_nothing(version: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(version).predict_proba(TEXTS)
    assert capfd.readouterr() == ("", "")
