"""Options of a connection for its encryption and its authentication. Pure."""

from gregory.env import SYSTEM_CERTIFICATES, Environment

# A server without such a certificate may be another one than the operator means.
_CHECKING = ("verify-ca", "verify-full")
NO_CLEAR_TEXT = "!password"
# How libpq begins its refusal of a server that asks for another proof.
REFUSED_PROOF = "authentication method requirement"
_KEY = "private key file"


def connection_options(environment: Environment) -> dict[str, str]:
    """The options of libpq that are set. Without one, libpq reads its own variable, and then has a default.

    The password goes in clear text only to a server whose certificate is checked, or through a local socket.
    """
    options = {
        "sslmode": environment.DB_SSLMODE,
        "sslrootcert": environment.DB_SSLROOTCERT,
        "sslcert": environment.DB_SSLCERT,
        "sslkey": environment.DB_SSLKEY,
        "require_auth": environment.DB_REQUIRE_AUTH,
    }
    if not (environment.DB_REQUIRE_AUTH or environment.PGREQUIREAUTH or _is_checked(environment) or _is_local(environment.DB_HOST)):
        options["require_auth"] = NO_CLEAR_TEXT
    return {name: value for name, value in options.items() if value}


def uses_system_certificates(environment: Environment) -> bool:
    """Whether the certificates of the operating system sign that of the server."""
    return (environment.DB_SSLROOTCERT or environment.PGSSLROOTCERT) == SYSTEM_CERTIFICATES


def remedy(message: str) -> str:
    """The next step of the operator after this error of a connection. Empty if its cause is none of the encryption."""
    if REFUSED_PROOF in message:
        return (
            "no password was sent: make sure that this is your server, best with DB_SSLMODE=verify-full; "
            "DB_REQUIRE_AUTH determines the proofs that a server may ask for"
        )
    if _KEY in message:
        return "DB_SSLKEY must name a file that belongs to the user of this process, and that no other user may read: chmod 600"
    return ""


def _is_checked(environment: Environment) -> bool:
    return (environment.DB_SSLMODE or environment.PGSSLMODE) in _CHECKING or uses_system_certificates(environment)


def _is_local(hosts: str) -> bool:
    """Whether every host is the folder of a socket. An empty host may be one of libpq's own variables."""
    return all(host.startswith(("/", "@")) for host in hosts.split(","))
