"""The certificates of the operating system. psycopg's wheel has an OpenSSL of its own, whose default paths exist on no machine."""

import ssl
from collections.abc import MutableMapping
from pathlib import Path


def use_system_certificates(environment: MutableMapping[str, str]) -> None:
    """Name the certificates of the operating system in the variables that every OpenSSL reads, if none is set.

    Python's OpenSSL knows the paths. The process ends if they have no certificate.
    """
    paths = ssl.get_default_verify_paths()
    defaults = {paths.openssl_cafile_env: paths.openssl_cafile, paths.openssl_capath_env: paths.openssl_capath}
    if any(environment.get(name) for name in defaults):
        return
    found = {name: path for name, path in defaults.items() if _has_certificates(Path(path))}
    if not found:
        raise SystemExit(
            f"the certificates of the operating system are missing ({' and '.join(defaults.values())}); install the package "
            "ca-certificates, or name a file in DB_SSLROOTCERT, for example /etc/ssl/certs/ca-certificates.crt"
        )
    environment.update(found)


def _has_certificates(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))
