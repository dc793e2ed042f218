"""A container's log as a stream that breaks where its daemon does; and the times that Docker writes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

# What both ends of a connection may raise; Docker's client translates only answers.
UNREACHABLE = (DockerException, RequestException, HTTPError, OSError)

Daemon = Callable[[], AbstractContextManager[docker.DockerClient]]


def stream(daemon: Daemon, name: str, *, since: str) -> Iterator[bytes]:
    """The log with time stamps from that second on, as it grows, until it ends or the connection does."""
    with suppress(*UNREACHABLE), daemon() as client:
        begin = datetime.fromisoformat(since).timestamp() if since else None
        yield from client.containers.get(name).logs(stream=True, follow=True, timestamps=True, since=begin)
