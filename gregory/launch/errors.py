"""What can go wrong between a finished plan and a running process.

LaunchError
├── UnknownRunner      --runner names none of ours
├── NotReady           no run could succeed on this machine now; said before any row is written
│   └── BadClusterConfig   the file that says how runs reach the cluster cannot be used
└── SubmitError        the machine would not start the run
"""


class LaunchError(Exception):
    """Root of every error of this package."""


class UnknownRunner(LaunchError):
    """There is no runner of that name."""


class NotReady(LaunchError):
    """The machine cannot carry out a run now; the message names what is missing and the remedy."""


class BadClusterConfig(NotReady):
    """The cluster file cannot be read or breaks a rule; the message names file, key, value and remedy."""


class SubmitError(LaunchError):
    """A run could not be started; its rows must be closed by the caller."""
