"""What can go wrong between a finished plan and a running process.

LaunchError
├── UnknownRunner      --runner names none of ours
└── SubmitError        the machine would not start the run
"""


class LaunchError(Exception):
    """Root of every error of this package."""


class UnknownRunner(LaunchError):
    """There is no runner of that name."""


class SubmitError(LaunchError):
    """A run could not be started; its rows must be closed by the caller."""
