"""Send requests to the Kubernetes API and read JSON. Only this module imports the Kubernetes client, and it translates all its errors.

The client opens the connection and authenticates. It does not convert objects, because its classes drop fields that they do not know.
`namespace` contains the requests of a runner.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
from gregory.launch.kubernetes.pages import ReadPage
from gregory.launch.log_stream import split

CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0
# The pauses between repetitions of one request, unless the server names another in Retry-After.
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0)
# The limit for all repetitions of one request together.
TOTAL_SECONDS = 45.0
UNAUTHORIZED, TOO_MANY = 401, 429
_TEMPORARY = {TOO_MANY, 500, 502, 503, 504}
_LONGEST_MESSAGE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An object of the API and the time of the answer by the server's clock, which also makes the time stamps in objects."""

    body: dict[str, Any]
    time: datetime


class Api:
    """A connection to one cluster with one account: from a kubeconfig and its context, or from the pod of this process.

    `calls` counts the sent requests by method and resource.
    """

    def __init__(self, *, kubeconfig: str, context: str, inherited: Mapping[str, str]) -> None:
        """`inherited` contains the variables that name the API server to a pod. The first request reads the kubeconfig."""
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
        read: ReadPage | None = None,
    ) -> Answer:
        """Send a request, and repeat it after temporary errors until TOTAL_SECONDS have passed.

        read: reads a part of the answer. An answer that it does not understand is read as a whole.
        repeatable: a second execution by the server does no harm, so the request is repeated even if its effect is unknown.
        Raises Unreachable and Refused.
        """
        began = time.monotonic()
        pauses = iter(BACKOFF_SECONDS)
        while True:
            try:
                response = self._send(method, path, resource=resource, query=query, body=body, headers=headers)
                return Answer(body=_body(response, read), time=_server_time(response))
            except ClusterError as error:
                pause = _pause(error, next(pauses, None), repeatable=repeatable)
                if pause is None or time.monotonic() - began + pause > TOTAL_SECONDS:
                    raise
            time.sleep(pause)

    def read(self, path: str, *, resource: str, query: Mapping[str, Any]) -> bytes:
        """The body of an answer that is not JSON. The request is sent once. Raises Unreachable and Refused."""
        return self._send("GET", path, resource=resource, query=query).data or b""

    def stream(self, path: str, *, resource: str, query: Mapping[str, Any], silence_seconds: float) -> Iterator[bytes]:
        """The body in chunks as they arrive. Raises Unreachable if no chunk arrives for `silence_seconds`, and Refused."""
        response = self._send("GET", path, resource=resource, query=query, silence_seconds=silence_seconds)
        try:
            yield from response.response.stream(2**16, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"the connection to the Kubernetes API broke: {error}") from error
        finally:
            response.response.close()

    def objects(self, path: str, *, resource: str, query: Mapping[str, Any], silence_seconds: float) -> Iterator[dict[str, Any]]:
        """The objects of an answer with one JSON object per line, without an unfinished one. Raises Unreachable and Refused."""
        for line in split(self.stream(path, resource=resource, query=query, silence_seconds=silence_seconds)):
            if line.endswith("\n"):
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
        renew: bool = False,
    ) -> RESTResponse:
        """Send a request once. After the status 401, read the credentials again, because they expire, and send it a second time."""
        if self._client is None or renew:
            self._client = self._connected()
        with self._counting:
            self.calls[f"{method} {resource}"] += 1
        try:
            sent = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
            request = self._client.param_serialize(method, path, None, dict(query or {}), sent, body, auth_settings=["BearerToken"])
            response = self._client.call_api(*request, _request_timeout=(CONNECT_SECONDS, silence_seconds or READ_SECONDS))
            if silence_seconds is None or not _is_success(response):
                response.read()
        except (urllib3.exceptions.HTTPError, ApiException, ConfigException, OSError) as error:
            raise Unreachable(f"the Kubernetes API does not answer: {_words(error)}") from error
        if response.status == UNAUTHORIZED and not renew:
            return self._send(
                method, path, resource=resource, query=query, body=body, headers=headers, silence_seconds=silence_seconds, renew=True
            )
        if not _is_success(response):
            raise _refusal(response)
        return response

    def _connected(self) -> ApiClient:
        settings = Configuration()
        file = _kubeconfig(self._kubeconfig)
        try:
            # Like kubectl: without a kubeconfig, use the account of the pod.
            if self._kubeconfig or self._context or file.exists():
                load_kube_config(str(file), self._context or None, settings, persist_config=False)
            else:
                InClusterConfigLoader(SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME, environ=self._inherited).load_and_set(settings)
        except (ConfigException, yaml.YAMLError, OSError) as error:
            raise Unreachable(
                f"no usable kubeconfig: {error}; name a kubeconfig in KUBECONFIG, and its context in GREGORY_KUBECONTEXT"
            ) from error
        # `request` repeats requests, so the client must not.
        settings.retries = False
        return ApiClient(settings)


def _kubeconfig(name: str) -> Path:
    """The kubeconfig of this name, by default that of the account. A user id without an account has no home."""
    file = Path(name or "~/.kube/config")
    try:
        return file.expanduser()
    except RuntimeError:
        return file


def _pause(error: ClusterError, planned: float | None, *, repeatable: bool) -> float | None:
    """Seconds to wait before the next repetition. None: do not repeat."""
    if planned is None:
        return None
    # Clients that were refused together must not return together.
    pause = planned * random.uniform(0.75, 1.25)  # noqa: S311 - nothing secret
    if isinstance(error, Refused):
        # The server has not executed a request that it answers with 429.
        temporary = error.status == TOO_MANY or (repeatable and error.status in _TEMPORARY)
        return (error.retry_after or pause) if temporary else None
    return pause if repeatable else None


def _is_success(response: RESTResponse) -> bool:
    return bool(200 <= response.status < 300)


def _body(response: RESTResponse, read: ReadPage | None) -> dict[str, Any]:
    if read is not None:
        with suppress(ValueError):
            return read(response.data or b"")
    return _parsed(_text(response))


def _parsed(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Unreachable(f"the answer is not from the Kubernetes API: {_excerpt(text)!r}") from error
    if not isinstance(body, dict):
        raise Unreachable(f"the answer is not from the Kubernetes API: {_excerpt(text)!r}")
    return body


def _refusal(response: RESTResponse) -> Refused:
    """The error in the API's `Status`, or in the page of a proxy."""
    try:
        status = json.loads(_text(response))
    except ValueError:
        status = None
    if not isinstance(status, dict):
        status = {}
    return Refused(
        str(status.get("message") or _excerpt(_text(response)) or f"HTTP {response.status}")[:_LONGEST_MESSAGE],
        status=response.status,
        reason=str(status.get("reason") or ""),
        retry_after=_retry_after(response.getheader("Retry-After")),
    )


def _retry_after(header: str | None) -> float | None:
    try:
        return urllib3.Retry().parse_retry_after(header) if header else None
    except urllib3.exceptions.InvalidHeader:
        return None


def _text(response: RESTResponse) -> str:
    return (response.data or b"").decode("utf-8", "replace")


def _excerpt(text: str) -> str:
    return text[:256].strip()


def _server_time(response: RESTResponse) -> datetime:
    date = response.getheader("Date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def _words(error: Exception) -> str:
    """The error in one line. The client's own text repeats headers and body."""
    return str(error.reason if isinstance(error, ApiException) else error).replace("\n", ": ")
