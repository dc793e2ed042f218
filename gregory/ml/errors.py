"""What can go wrong in a stage, as one small tree; each library's own errors are translated where it is used.

TrainingError
├── DataError              the labels or texts of this subject cannot be trained on
│   └── StratificationError    too few of one class to fill training, validation and test
├── ConfigError            a hyper-parameter or hyper-parameter file is wrong
├── BundleError            a base model is missing, damaged or of the wrong kind
├── ArtifactError          a version folder is incomplete, changed, or already there
├── MemoryExhausted        a library reported that it could not get memory
└── NoGpu                  the run must have a GPU and there is none
"""


class TrainingError(Exception):
    """Root of every error that a stage raises on purpose."""


class DataError(TrainingError):
    """The rows of this subject cannot be trained on; more or other labels are the remedy."""


class StratificationError(DataError):
    """A stratified 70/15/15 split would leave a part without one of the two classes."""


class ConfigError(TrainingError):
    """A hyper-parameter is unknown or out of range."""


class BundleError(TrainingError):
    """A base model is missing, damaged or of the wrong kind."""


class ArtifactError(TrainingError):
    """A model folder is incomplete, was changed after training, or is in the way."""


class MemoryExhausted(TrainingError):
    """A training library asked for memory that the machine would not give."""


class NoGpu(TrainingError):
    """A run that must have a GPU found none."""
