"""The Kubernetes API as JSON over HTTP: the only module that imports its client, and no error of the client leaves it.

The client gives the connection, with all its ways to be known there. Objects are taken as the API server writes them, since
the client's own classes drop what they do not know yet. Which requests a runner makes is in `kube_namespace`.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.client.rest import RESTResponse
from kubernetes.config import ConfigException, load_kube_config
from kubernetes.config.incluster_config import SERVICE_CERT_FILENAME, SERVICE_TOKEN_FILENAME, InClusterConfigLoader

from gregory.launch.errors import ClusterError, Refused, Unreachable
from gregory.launch.log_stream import split

CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0
# Between tries of one request, and for all of them together; the server's own wish, Retry-After, comes before.
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0)
PATIENCE_SECONDS = 45.0
UNAUTHORIZED, TOO_MANY = 401, 429
_PASSING = {TOO_MANY, 500, 502, 503, 504}
_LONGEST_MESSAGE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An object of the API, and the time by the server's own clock: that of all times in its objects, unlike this machine's."""

    body: dict[str, Any]
    moment: datetime


class Api:
    """One cluster as one identity: that of a kubeconfig and its context, or of the pod that this process runs in.

    `calls` counts the requests that were sent, by method and resource.
    """

    def __init__(self, *, kubeconfig: str, context: str, inherited: Mapping[str, str]) -> None:
        """inherited: the variables in which a pod finds its API server. Nothing is read before the first request."""
        self.calls: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._kubeconfig, self._context, self._inherited = kubeconfig, context, inherited
        self._client: ApiClient | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        resource: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """Ask until there is an answer, or patience is at its end. repeatable: whether it may be sent again when its fate is unknown.

        Raises Unreachable and Refused.
        """
        began = time.monotonic()
        pauses = iter(BACKOFF_SECONDS)
        while True:
            try:
                with_words = self._send(method, path, resource=resource, query=query, body=body, headers=headers)
                return Answer(body=_parsed(_text(with_words)), moment=_moment(with_words))
            except ClusterError as error:
                pause = _pause(error, next(pauses, None), repeatable=repeatable)
                if pause is None or time.monotonic() - began + pause > PATIENCE_SECONDS:
                    raise
            time.sleep(pause)

    def read(self, path: str, *, resource: str, query: Mapping[str, Any]) -> bytes:
        """The body of an answer that is no object, in one piece; tried once."""
        return self._send("GET", path, resource=resource, query=query).data or b""

    def stream(self, path: str, *, resource: str, query: Mapping[str, Any], silence_seconds: float) -> Iterator[bytes]:
        """The same in pieces as they come, until its end. Raises Unreachable when nothing comes for that long."""
        response = self._send("GET", path, resource=resource, query=query, silence_seconds=silence_seconds)
        try:
            yield from response.response.stream(2**16, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"the Kubernetes API broke off: {error}") from error
        finally:
            response.response.close()

    def objects(self, path: str, *, resource: str, query: Mapping[str, Any], silence_seconds: float) -> Iterator[dict[str, Any]]:
        """The same of an answer that is JSON objects, one a line."""
        for line in split(self.stream(path, resource=resource, query=query, silence_seconds=silence_seconds)):
            yield _parsed(line)

    def _send(
        self,
        method: str,
        path: str,
        *,
        resource: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        silence_seconds: float | None = None,
        known: bool = True,
    ) -> RESTResponse:
        """Once; and once more as whoever the configuration says we are now, if the server does not know us: credentials age."""
        if self._client is None or not known:
            self._client = self._connected()
        with self._counting:
            self.calls[f"{method} {resource}"] += 1
        try:
            given = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
            request = self._client.param_serialize(method, path, None, dict(query or {}), given, body, auth_settings=["BearerToken"])
            response = self._client.call_api(*request, _request_timeout=(CONNECT_SECONDS, silence_seconds or READ_SECONDS))
            if silence_seconds is None or not _is_well(response):
                response.read()
        except (urllib3.exceptions.HTTPError, ApiException, ConfigException, OSError) as error:
            raise Unreachable(f"the Kubernetes API does not answer: {_words(error)}") from error
        if response.status == UNAUTHORIZED and known:
            return self._send(
                method, path, resource=resource, query=query, body=body, headers=headers, silence_seconds=silence_seconds, known=False
            )
        if not _is_well(response):
            raise _refusal(response)
        return response

    def _connected(self) -> ApiClient:
        settings = Configuration()
        file = Path(self._kubeconfig or "~/.kube/config").expanduser()
        try:
            # As kubectl does: a pod's own identity where there is no kubeconfig.
            if self._kubeconfig or self._context or file.exists():
                load_kube_config(str(file), self._context or None, settings, persist_config=False)
            else:
                InClusterConfigLoader(SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME, environ=self._inherited).load_and_set(settings)
        except (ConfigException, yaml.YAMLError, OSError) as error:
            raise Unreachable(
                f"how to reach the cluster is not known: {error}; name a kubeconfig in KUBECONFIG, and its context in GREGORY_KUBECONTEXT"
            ) from error
        # Tries are counted and paused here; the client would make some of its own.
        settings.retries = False
        return ApiClient(settings)


def _pause(error: ClusterError, planned: float | None, *, repeatable: bool) -> float | None:
    """How long to wait before the next try; None where there is to be none."""
    if planned is None:
        return None
    # Several that were refused together must not come back together.
    pause = planned * random.uniform(0.75, 1.25)  # noqa: S311 - nothing secret
    if isinstance(error, Refused):
        # What was one too many has not been carried out, whatever it was.
        again = error.status == TOO_MANY or (repeatable and error.status in _PASSING)
        return (error.retry_after or pause) if again else None
    return pause if repeatable else None


def _is_well(response: RESTResponse) -> bool:
    return bool(200 <= response.status < 300)


def _parsed(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Unreachable(f"something else than the Kubernetes API answered: {_excerpt(text)!r}") from error
    if not isinstance(body, dict):
        raise Unreachable(f"something else than the Kubernetes API answered: {_excerpt(text)!r}")
    return body


def _refusal(response: RESTResponse) -> Refused:
    """The API's `Status`, or what a proxy on the way to it says."""
    try:
        status = json.loads(_text(response))
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {}
    wish = response.getheader("Retry-After") or ""
    return Refused(
        str(status.get("message") or _excerpt(_text(response)) or f"HTTP {response.status}")[:_LONGEST_MESSAGE],
        status=response.status,
        reason=str(status.get("reason") or ""),
        retry_after=float(wish) if wish.isdigit() else None,
    )


def _text(response: RESTResponse) -> str:
    return (response.data or b"").decode("utf-8", "replace")


def _excerpt(text: str) -> str:
    return text[:256].strip()


def _moment(response: RESTResponse) -> datetime:
    said = response.getheader("Date")
    return parsedate_to_datetime(said) if said else datetime.now(UTC)


def _words(error: Exception) -> str:
    """One line: the client's own text of an error repeats headers and body."""
    return str(error.reason if isinstance(error, ApiException) else error).replace("\n", ": ")
