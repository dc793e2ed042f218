"""Errors between a planned run and its process.

LaunchError
├── UnknownRunner            --runner has no such name
├── PreconditionFailed       every run would fail now; raised before any row is written
│   └── BadClusterConfig     the cluster file is unusable
├── SubmitError              the back end does not start the run
├── TerminationTimeout       the end of a cancelled run was not observed
└── ClusterError             a request to the Kubernetes API failed
    ├── Unreachable          no answer: the effect of the request is unknown
    └── Refused              the API server answered with an error
"""

from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason


class LaunchError(Exception):
    """Base class of the errors in this package."""


class UnknownRunner(LaunchError):
    """No runner has this name."""


class PreconditionFailed(LaunchError):
    """The back end cannot execute a run now. The message names the missing part and the remedy."""


class BadClusterConfig(PreconditionFailed):
    """The cluster file is unreadable or breaks a rule. The message names file, key, value and remedy."""


class SubmitError(LaunchError):
    """The back end will not start this run. The caller closes its rows with its diagnosis.

    A runner raises another LaunchError if the effect of the request is unknown, or if a later request may succeed. The caller
    then submits the run again.
    """

    def __init__(self, message: str, *, reason: Reason = Reason.NOT_STARTED) -> None:
        super().__init__(message)
        self.diagnosis = Diagnosis(summary=message, reason=reason)


class TerminationTimeout(LaunchError):
    """The run was cancelled, but it may still work. The request to end is no evidence of the end."""


class ClusterError(LaunchError):
    """A request to the Kubernetes API failed."""


class Unreachable(ClusterError):
    """No answer arrived in time. The API server may have executed the request."""


class Refused(ClusterError):
    """An error of the API server.

    status: HTTP status. reason: Kubernetes' word for it, such as AlreadyExists, or empty. retry_after: seconds that the server
    asks the client to wait, or None.
    """

    def __init__(self, message: str, *, status: int, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
