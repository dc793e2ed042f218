"""A LightGBM model as data: the booster in LightGBM's text format and the vectoriser as JSON. Reading them runs no code."""

from pathlib import Path
from typing import Any, Literal, Self

import lightgbm
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer

from gregory.ml.errors import ArtifactError

BOOSTER_FILE = "lgbm_classifier.txt"
VECTORISER_FILE = "tfidf_vectorizer.json"
_REMEDY = "train the model again"


class _Vectoriser(BaseModel):
    """tfidf_vectorizer.json: each word with its weight, in the order of the columns, and the settings that change a vector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = 1
    analyzer: Literal["word", "char", "char_wb"]
    binary: bool
    lowercase: bool
    ngram_range: tuple[int, int]
    norm: Literal["l1", "l2"] | None
    strip_accents: Literal["ascii", "unicode"] | None
    sublinear_tf: bool
    token_pattern: str
    vocabulary: tuple[str, ...]
    idf: tuple[float, ...]

    @classmethod
    def of(cls, vectoriser: Any) -> Self:
        settings = {name: value for name, value in vectoriser.get_params().items() if name in cls.model_fields}
        vocabulary = sorted(vectoriser.vocabulary_, key=vectoriser.vocabulary_.get)
        return cls(**{**settings, "vocabulary": vocabulary, "idf": vectoriser.idf_.tolist()})

    def restored(self) -> Any:
        settings = self.model_dump(exclude={"schema_number", "idf", "vocabulary"})
        vectoriser = TfidfVectorizer(vocabulary=self.vocabulary, **settings)
        vectoriser.idf_ = np.array(self.idf)
        return vectoriser


def write(folder: Path, *, vectoriser: Any, booster: lightgbm.Booster) -> None:
    """Write both files."""
    (folder / BOOSTER_FILE).write_text(booster.model_to_string(), encoding="utf-8")
    (folder / VECTORISER_FILE).write_text(_Vectoriser.of(vectoriser).model_dump_json(indent=1) + "\n", encoding="utf-8")


def are_in(folder: Path) -> bool:
    """Whether a version folder has both files. Those of older releases have none."""
    return all((folder / name).is_file() for name in (BOOSTER_FILE, VECTORISER_FILE))


def read(folder: Path) -> tuple[Any, lightgbm.Booster]:
    """The vectoriser and the booster. Raises ArtifactError if a file does not contain one."""
    try:
        vectoriser = _Vectoriser.model_validate_json((folder / VECTORISER_FILE).read_text(encoding="utf-8")).restored()
    except (ValidationError, ValueError) as error:
        raise ArtifactError(f"{folder / VECTORISER_FILE} does not hold a vectoriser: {error}; {_REMEDY}") from error
    try:
        booster = lightgbm.Booster(model_str=(folder / BOOSTER_FILE).read_text(encoding="utf-8"))
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise ArtifactError(f"{folder / BOOSTER_FILE} does not hold a LightGBM model: {error}; {_REMEDY}") from error
    return vectoriser, booster
