"""`/metrics` of the operator pages, on a port of its own: requests by page, refused logins, and the figures of the database.

The labels are the names of routes and the status codes, so a browser cannot make new ones.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import CollectorRegistry, Counter, Metric, make_wsgi_app
from prometheus_client.registry import Collector

from gregory.management.metrics_server import Figures
from gregory.runs.db_retry import close_connection

# A request without a route: an unknown address, or a file of the style.
OTHER = "other"
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class PageMetrics(Collector):
    """The metrics of one server."""

    def __init__(self) -> None:
        """All counters begin at 0."""
        self.registry = CollectorRegistry()
        self._figures, self._reading = Figures(), threading.Lock()
        self._requests = Counter("gregory_page_requests", "Requests to the operator pages.", ["page", "status"], registry=self.registry)
        self._seconds = Counter("gregory_page_seconds", "Time of these requests.", ["page"], registry=self.registry)
        self._refused = Counter("gregory_refused_logins", "Logins with a wrong name or password.", registry=self.registry)
        self.registry.register(self)

    def answered(self, page: str, *, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(page, str(status)).inc()
        self._seconds.labels(page).inc(seconds)

    def refuse_login(self, **signal: object) -> None:
        """Count a refused login. A receiver of Django's signal."""
        self._refused.inc()

    def collect(self) -> Iterator[Metric]:
        """The figures of the database, read now if they are old. None while it is away, or while the first scrape reads them."""
        if self._reading.acquire(blocking=False):
            try:
                self._figures.refresh()
            except (DatabaseError, InterfaceError):
                self._figures.forget()
            finally:
                close_connection()
                self._reading.release()
        yield from self._figures.collect()


served = PageMetrics()


def counted(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Count each request with its route, its status and its time."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response = get_response(request)
        page = request.resolver_match.url_name if request.resolver_match else None
        served.answered(page or OTHER, status=response.status_code, seconds=time.perf_counter() - begun)
        return response

    return answer


def beside(pages: Application) -> Application:
    """The pages, and the metrics on their own port. The socket of a request decides, and no header can change it.

    gunicorn takes SERVER_PORT from the header Host of a request through a Unix socket.
    """
    if settings.WEB_METRICS_PORT is None:
        return pages
    metrics, port = make_wsgi_app(served.registry), settings.WEB_METRICS_PORT

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return (metrics if _port(environ["gunicorn.socket"]) == port else pages)(environ, start_response)

    return application


def _port(connection: socket.socket) -> int | None:
    """The port of this server. A Unix socket has a path instead."""
    name = connection.getsockname()
    return name[1] if isinstance(name, tuple) else None
