"""python -m gregory.web: serve the operator pages with gunicorn.

Without GREGORY_WEB_URL the pages are for browsers of this machine. With it, a proxy that ends TLS stands before them.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from typing import NoReturn
from urllib.parse import urlsplit

from gregory.env import read_environment

_LOCAL = "http://127.0.0.1:8000"
_PORT = 8000
# Each request waits for the database or the models folder, so threads share a process. More processes need more memory only.
_THREADS = 8


def main(arguments: list[str]) -> NoReturn:
    """Replace this process by the server. Exit code 2: a setting is missing."""
    known = parser()
    given = known.parse_args(arguments)
    env = read_environment()
    url = env.GREGORY_WEB_URL or _LOCAL
    if url.startswith("https://") and not env.SECRET_KEY.get_secret_value():
        known.error("SECRET_KEY is empty: set it to a long random text, else every restart ends all logins")
    os.environ["GREGORY_WEB_URL"] = url
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gregory.web.settings")
    if given.new_password:
        print_password(url)
    sockets = [given.bind or bind(url)]
    if (port := env.GREGORY_WEB_METRICS_PORT) is not None:
        if not sockets[0].startswith("unix:") and sockets[0].endswith(f":{port}"):
            known.error(f"GREGORY_WEB_METRICS_PORT {port} is the port of the pages: choose another one")
        sockets.append(_socket(env.GREGORY_METRICS_HOST, port))
    serve(sockets, os.environ)


def parser() -> ArgumentParser:
    """The flags."""
    known = ArgumentParser(prog="python -m gregory.web", description="Serve the operator pages.")
    known.add_argument(
        "--bind", metavar="SOCKET", help=f"HOST:PORT or unix:PATH (default: HOST:PORT of a local address, else 0.0.0.0:{_PORT})"
    )
    known.add_argument(
        "--new-password",
        action="store_true",
        help="give the superuser `operator` a new password and print it; only for a database of our own",
    )
    return known


def bind(url: str) -> str:
    """The socket of an address: of a local one itself, else all addresses of this machine, for the proxy."""
    parts = urlsplit(url)
    return _socket(parts.hostname or "", parts.port or _PORT) if parts.scheme == "http" else f"0.0.0.0:{_PORT}"


def _socket(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def print_password(url: str) -> None:
    """Make or change the superuser `operator`, and print address, name and password."""
    import django

    django.setup()
    from gregory.web.first_user import NAME, new_password

    password = new_password()
    sys.stdout.write(f"Open {url} and log in as {NAME} with the password {password}\n")
    sys.stdout.flush()


def serve(sockets: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by gunicorn: one process, so that every request has the same signing key."""
    options = [
        *(word for socket in sockets for word in ("--bind", socket)),
        "--workers",
        "1",
        "--threads",
        str(_THREADS),
        "--timeout",
        "120",
        "--graceful-timeout",
        "25",
        "--no-control-socket",
    ]
    argv = [sys.executable, "-m", "gunicorn", *options, "gregory.web.wsgi"]
    os.execve(sys.executable, argv, dict(environment))  # noqa: S606 - no shell is needed


if __name__ == "__main__":
    main(sys.argv[1:])
