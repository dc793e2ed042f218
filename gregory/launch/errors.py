"""What can go wrong between a finished plan and a running process.

LaunchError
├── UnknownRunner      --runner names none of ours
├── NotReady           no run could succeed on this machine now; said before any row is written
│   └── BadClusterConfig   the file that says how runs reach the cluster cannot be used
├── SubmitError        the machine would not start the run
├── NotEnded           the run was told to end and has not been seen gone
└── ClusterError       the Kubernetes API did not do what it was asked
    ├── Unreachable        it gave no answer: nothing is known of what became of the request
    └── Refused            it answered, and the answer is no
"""

from gregory.runs.reasons import Reason


class LaunchError(Exception):
    """Root of every error of this package."""


class UnknownRunner(LaunchError):
    """There is no runner of that name."""


class PreconditionFailed(LaunchError):
    """The machine cannot carry out a run now; the message names what is missing and the remedy."""


class BadClusterConfig(PreconditionFailed):
    """The cluster file cannot be read or breaks a rule; the message names file, key, value and remedy."""


class SubmitError(LaunchError):
    """A run will not be started; its rows must be closed by the caller. reason: why, in one word of the ledger.

    Where nothing is known of what became of the request, or the machine only asks for patience, another LaunchError is raised: the
    run is then submitted again.
    """

    def __init__(self, message: str, *, reason: Reason = Reason.NOT_STARTED) -> None:
        super().__init__(message)
        self.reason = reason


class TerminationTimeout(LaunchError):
    """A run that was told to end may still be at work; nothing may be concluded from having told it."""


class ClusterError(LaunchError):
    """The Kubernetes API did not do what it was asked."""


class Unreachable(ClusterError):
    """No answer, or none in time. The request may have been carried out."""


class Refused(ClusterError):
    """The API server's answer. status: of HTTP; reason: Kubernetes' word for it, such as AlreadyExists, where it gave one."""

    def __init__(self, message: str, *, status: int, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
