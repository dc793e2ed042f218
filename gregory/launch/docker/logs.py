"""The log of a container as a stream."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

# Docker's client translates only answers of the daemon. Errors of the connection are those of requests, urllib3 and the system.
UNREACHABLE = (DockerException, RequestException, HTTPError, OSError)

Daemon = Callable[[], AbstractContextManager[docker.DockerClient]]


def stream(daemon: Daemon, name: str, *, since: str) -> Iterator[bytes]:
    """The log with time stamps, from the second `since` on, until the log ends or the connection breaks."""
    with suppress(*UNREACHABLE), daemon() as client:
        begin = datetime.fromisoformat(since).timestamp() if since else None
        yield from client.containers.get(name).logs(stream=True, follow=True, timestamps=True, since=begin)
