"""Following a container's log: every line once, with its time, so that a connection that broke is made again where it stopped."""

import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import datetime

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from gregory.launch.log_lines import drained, split

# What both ends of a connection may raise; Docker's client translates only answers.
UNREACHABLE = (DockerException, RequestException, HTTPError, OSError)
_STAMPED = re.compile(r"^(\S+Z) ?(.*)$")

Daemon = Callable[[], AbstractContextManager[docker.DockerClient]]


def follow(daemon: Daemon, name: str, *, after: str, waiting: Callable[[], object]) -> Iterator[tuple[str, str]]:
    """Time and text of each line after that time, until the log ends or the connection does.

    Read by a thread, since the client blocks until there is something. `waiting` is called while there is nothing.
    """
    lines: queue.Queue[tuple[str, str] | None] = queue.Queue(maxsize=10_000)

    def read() -> None:
        with suppress(*UNREACHABLE), daemon() as client:
            since = moment(after).timestamp() - 1 if after else None
            for line in split(client.containers.get(name).logs(stream=True, follow=True, timestamps=True, since=since)):
                stamped = _STAMPED.match(line)
                if stamped and stamped[1] > after:
                    lines.put((stamped[1], stamped[2]))
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    yield from drained(lines, waiting=waiting)


def moment(stamp: str) -> datetime:
    """A time of Docker, which counts nanoseconds, where Python counts microseconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", stamp).replace("Z", "+00:00"))
