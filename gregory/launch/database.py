"""The connection to the database of a run in a container or pod: its variables, and the files that it needs. Pure."""

from collections.abc import Mapping

from gregory.env import (
    DATABASE_VARIABLES,
    LIBPQ_FILES,
    LIBPQ_VARIABLES,
    REQUIRE_AUTH,
    RUN_ROLE,
    SSL_FILES,
    SSL_MODE,
    SSL_ROOT_CERTIFICATE,
    SYSTEM_CERTIFICATES,
)
from gregory.launch.errors import PreconditionFailed


def credentials(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of a run that name database, role, password, host and port: those of this process, except a role of the runs."""
    given = {name: inherited[name] for name in DATABASE_VARIABLES.values() if name in inherited}
    return given | ({name: inherited.get(source, "") for name, source in RUN_ROLE.items()} if has_run_role(inherited) else {})


def has_run_role(inherited: Mapping[str, str]) -> bool:
    """Whether runs have another role than this process."""
    return bool(inherited.get(RUN_ROLE[DATABASE_VARIABLES["user"]]))


def of_run(inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a run on this machine. It has no password of another role."""
    return {name: value for name, value in inherited.items() if name not in RUN_ROLE.values()} | credentials(inherited)


def connection(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process that change the connection, except the names of files."""
    given = {name: inherited[name] for name in (SSL_MODE, REQUIRE_AUTH, *LIBPQ_VARIABLES) if inherited.get(name)}
    system = _file(inherited, SSL_ROOT_CERTIFICATE) == SYSTEM_CERTIFICATES
    return given | ({SSL_ROOT_CERTIFICATE: SYSTEM_CERTIFICATES} if system else {})


def files(inherited: Mapping[str, str]) -> dict[str, str]:
    """The files of the connection by the variables that name them. The certificates of the operating system are none."""
    named = {variable: _file(inherited, variable) for variable in SSL_FILES}
    return {variable: file for variable, file in named.items() if file not in ("", SYSTEM_CERTIFICATES)}


def require_transferable(inherited: Mapping[str, str], *, place: str) -> None:
    """Raise PreconditionFailed if a variable of libpq names a file that a run does not have. place: a container or a pod."""
    for name in LIBPQ_FILES:
        if inherited.get(name):
            raise PreconditionFailed(
                f"{name}={inherited[name]} belongs to a file of this machine, which {place} does not have; "
                "unset the variable, or use --runner local"
            )


def _file(inherited: Mapping[str, str], variable: str) -> str:
    return inherited.get(variable) or inherited.get(SSL_FILES[variable], "")
