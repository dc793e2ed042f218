"""The connection to the database of a run in a container or pod: its variables, and the certificates that it needs. Pure."""

from collections.abc import Mapping

from gregory.env import (
    DATABASE_VARIABLES,
    LIBPQ_FILES,
    LIBPQ_ROOT_CERTIFICATE,
    LIBPQ_VARIABLES,
    SSL_MODE,
    SSL_ROOT_CERTIFICATE,
    SYSTEM_CERTIFICATES,
)
from gregory.launch.errors import PreconditionFailed


def credentials(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process that name database, role, password, host and port."""
    return {name: inherited[name] for name in DATABASE_VARIABLES.values() if name in inherited}


def connection(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process that change the connection, except the names of files."""
    given = {name: inherited[name] for name in (SSL_MODE, *LIBPQ_VARIABLES) if inherited.get(name)}
    return given | ({SSL_ROOT_CERTIFICATE: SYSTEM_CERTIFICATES} if _root_certificate(inherited) == SYSTEM_CERTIFICATES else {})


def certificate_file(inherited: Mapping[str, str]) -> str:
    """The file with the certificates that sign the server's. Empty if there is none, or for those of the operating system."""
    found = _root_certificate(inherited)
    return "" if found == SYSTEM_CERTIFICATES else found


def require_transferable(inherited: Mapping[str, str], *, place: str) -> None:
    """Raise PreconditionFailed if a variable of libpq names a file that a run does not have. place: a container or a pod."""
    for name in LIBPQ_FILES:
        if inherited.get(name):
            raise PreconditionFailed(
                f"{name}={inherited[name]} belongs to a file of this machine, which {place} does not have; "
                "give the database a password and unset the variable, or use --runner local"
            )


def _root_certificate(inherited: Mapping[str, str]) -> str:
    return inherited.get(SSL_ROOT_CERTIFICATE) or inherited.get(LIBPQ_ROOT_CERTIFICATE, "")
