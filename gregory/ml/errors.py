"""The errors of a stage, in one tree. The module that uses a library translates the errors of that library.

TrainingError
├── DataError              the labels or texts of this subject are not sufficient for a training
│   └── StratificationError    too few of one class to fill training, validation and test
├── ConfigError            a hyper-parameter or hyper-parameter file is wrong
├── BundleError            a base model is missing, damaged or of the wrong kind
├── ArtifactError          a version folder is incomplete, changed, present, or of another text version
│   ├── VersionTaken           a folder has the name of the version
│   └── DamagedFile            a file is not regular, is too large, or has other content than its name promises
├── MemoryExhausted        a library could not allocate memory
└── NoGpu                  the run requires a GPU and finds none
"""


class TrainingError(Exception):
    """The base of every error that a stage raises intentionally."""


class DataError(TrainingError):
    """The articles of this subject are not sufficient for a training. The remedy is more or other labels."""


class StratificationError(DataError):
    """In a stratified 70/15/15 split a part would lack one of the two classes."""


class ConfigError(TrainingError):
    """A hyper-parameter is unknown or out of range."""


class BundleError(TrainingError):
    """A base model is missing, damaged or of the wrong kind."""


class ArtifactError(TrainingError):
    """A model folder is incomplete, changed, or present under that name, or a file has another text version."""


class DamagedFile(ArtifactError):
    """A file is not regular, is too large, or has other content than its name promises. Reading it again does not help."""


class VersionTaken(ArtifactError):
    """A folder has the name of the version."""


class MemoryExhausted(TrainingError):
    """A training library could not allocate memory."""


class NoGpu(TrainingError):
    """A run requires a GPU and finds none."""
