"""Answers of the daemon: the log of a container as a stream, and the text of an error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

# Docker's client translates only answers of the daemon. Errors of the connection are those of requests, urllib3 and the system.
UNREACHABLE = (DockerException, RequestException, HTTPError, OSError)

Daemon = Callable[[], AbstractContextManager[docker.DockerClient]]


def words(error: Exception) -> str:
    """The text of an error, without the request to the daemon."""
    return str(getattr(error, "explanation", None) or error)


def stream(daemon: Daemon, name: str) -> Iterator[bytes]:
    """The whole log with time stamps, until the log ends or the connection breaks."""
    with suppress(*UNREACHABLE), daemon() as client:
        yield from joined(client.containers.get(name).logs(stream=True, follow=True, timestamps=True))


def joined(messages: Iterable[bytes]) -> Iterator[bytes]:
    """The messages of a log, with one time stamp for each line. The daemon splits a line after 16 KiB, and stamps each part."""
    ended = True
    for message in messages:
        yield message if ended else message.partition(b" ")[2]
        ended = message.endswith(b"\n")
