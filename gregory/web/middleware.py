"""The answer to probes, and the headers of every page."""

from collections.abc import Callable
from logging import LogRecord

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase

Answer = Callable[[HttpRequest], HttpResponseBase]
HEALTH = "/healthz"
# No inline script and no inline style: the pages have their own files.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; " \
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"  # fmt: skip


def health(get_response: Answer) -> Answer:
    """Answer probes before all else: they have no session, no TLS and the address of a pod as host."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        return HttpResponse("ok\n", content_type="text/plain") if request.path == HEALTH else get_response(request)

    return answer


def known_address(get_response: Answer) -> Answer:
    """Refuse an address with NUL, which no text of PostgreSQL can have, and a host that is not ours. Django would log a traceback."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return HttpResponseBadRequest("the address contains NUL\n", content_type="text/plain")
        try:
            request.get_host()
        except DisallowedHost:
            sentence = "this host is not that of GREGORY_WEB_URL; open the address that the server printed, or correct the variable\n"
            return HttpResponseBadRequest(sentence, content_type="text/plain")
        return get_response(request)

    return answer


def refusal_as_line() -> Callable[[LogRecord], bool]:
    """A filter of the log: the refusal of a request is one line. Django adds the traceback of the exception that refused it."""

    def shorten(record: LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True

    return shorten


def content_policy(get_response: Answer) -> Answer:
    """Set the policy, unless the view has set a stricter one."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return answer
