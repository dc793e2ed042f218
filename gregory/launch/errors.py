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

import re
from http import HTTPStatus

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


# The message of authorization. Admission, a quota and a webhook have the same status 403 and other messages.
_NOT_AUTHORIZED = re.compile(r'User ".*" cannot \w+ (resource|path) "')
# Admission, as long as the server does not know the objects that it needs, and a quota that no controller has counted yet.
_NOT_READY = ("not yet ready to handle request", "status unknown for quota")


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

    @property
    def lacks_permission(self) -> bool:
        """Whether this account may not do it. A server that has just started refuses every account until it knows them."""
        if self.status == HTTPStatus.FORBIDDEN:
            return bool(_NOT_AUTHORIZED.search(str(self))) or any(words in str(self) for words in _NOT_READY)
        return self.status == HTTPStatus.UNAUTHORIZED

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later without a change."""
        later = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
        return self.lacks_permission or self.status in later or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
