"""The values of manifest.json: data, base models, configuration, libraries, probe, and the sha256 of every other file."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from gregory.ml.config import Algorithm, TrainConfig
from gregory.ml.text import UNSTAMPED_VERSION

# Another CPU or batch size changes a probability by 1e-7 to 1e-5. Silent damage of weights (h5 files read by another TensorFlow)
# changed it by tenths. Probes detect that damage.
PROBE_TOLERANCE = 1e-3


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileFacts(_Value):
    """The content that a file must have."""

    sha256: str
    bytes: int


class Probe(_Value):
    """Texts and the probabilities that the model gave them before its publication."""

    texts: tuple[str, ...]
    probabilities: tuple[float, ...]
    tolerance: float = PROBE_TOLERANCE


class PseudoLabelRound(_Value):
    """The numbers of texts in one round. asked: predicted texts. relevant, not_relevant: accepted labels."""

    asked: int
    relevant: int
    not_relevant: int


class PseudoLabelFacts(_Value):
    """The origin of the pseudo-labels. pool: unlabelled articles. file: the CSV file of the labels, relative to the models folder."""

    pool: int
    rounds: tuple[PseudoLabelRound, ...]
    file: str


class DataFacts(_Value):
    """The training data: window, dropped articles with their reasons, and examples per part and class.

    parts: examples with reviews. pseudo_labelled: texts that the training part has in addition.
    """

    cutoff: datetime | None
    window: str
    labelled: int
    title_only: int
    duplicates: int
    conflicts: int
    pseudo_labelled: int
    pseudo_labels: PseudoLabelFacts | None = None
    parts: dict[str, dict[str, int]]
    fingerprint: str
    text_version: int = UNSTAMPED_VERSION


class Provenance(_Value):
    """Facts of the run that its entry point gives to the training library."""

    team: str
    subject: str
    version: str
    run_id: str
    attempt: int
    run_log_id: int
    cutoff: datetime | None
    window: str
    image_digest: str


class Manifest(_Value):
    """manifest.json: data, base models, configuration, libraries, probe, and the sha256 of every other file."""

    schema_number: Literal[1] = 1
    algorithm: Algorithm
    provenance: Provenance
    created_at: datetime
    config: TrainConfig
    data: DataFacts
    base_models: dict[str, dict[str, str]]
    libraries: dict[str, str]
    threads: int
    compute: dict[str, str | int] = {}
    warnings: tuple[str, ...]
    probe: Probe
    files: dict[str, FileFacts] = {}
