"""The real models: repository, revision, licence, and the checksums that this release knows.

Weights without a known checksum are not read from a hub. A pickle without one is not read at all, because reading it can run code.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# The first one is preferred: it is only data.
SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
WEIGHTS = (SAFETENSORS, PICKLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A model of the hub. sha256: known checksums of its files. given: the checksum of the weights that the operator vouches for."""

    part: str
    repository: str
    revision: str
    licence: str
    sha256: Mapping[str, str]
    given: str = ""

    def known(self, name: str) -> str:
        """The checksum that the file must have, or an empty text."""
        return self.sha256.get(name, self.given if name in WEIGHTS else "")

    @property
    def folder_option(self) -> str:
        """The flag for a folder in place of the download."""
        return f"--{self.part}-dir"

    @property
    def checksum_option(self) -> str:
        """The flag for `given`."""
        return f"--{self.part}-sha256"


# The checksums of BiomedBERT are missing, because its files could not be fetched during this work. `prepare_base_models` prints them.
ENCODER = Pin(
    part="encoder",
    repository="microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
    revision="e1354b7a3a09615f6aba48dfad4b7a613eef7062",
    licence="MIT",
    sha256={},
)
SUMMARISER = Pin(
    part="summariser",
    repository="facebook/bart-large-cnn",
    revision="37f520fa929c961707657b28798b30c003dd100b",
    licence="MIT",
    sha256={SAFETENSORS: "40041830399afb5348525ef8354b007ecec4286fdf3524f7e6b54377e17096cb"},
)
