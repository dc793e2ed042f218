"""The variables of the database that a container and a pod get."""

import pytest

from gregory.launch import database
from gregory.launch.errors import PreconditionFailed


def test_the_connection_has_all_variables_without_a_file():
    inherited = {"DB_SSLMODE": "verify-full", "PGOPTIONS": "-c a=b", "PGSSLMODE": "", "PGSSLROOTCERT": "/ca", "PGHOST": "x", "HOME": "/"}

    assert database.connection(inherited) == {"DB_SSLMODE": "verify-full", "PGOPTIONS": "-c a=b"}


@pytest.mark.parametrize(
    ("inherited", "file"),
    [
        ({}, ""),
        ({"DB_SSLROOTCERT": "/ours", "PGSSLROOTCERT": "/libpq"}, "/ours"),
        ({"DB_SSLROOTCERT": "", "PGSSLROOTCERT": "/libpq"}, "/libpq"),
        ({"DB_SSLROOTCERT": "system"}, ""),
    ],
)
def test_the_file_of_the_certificates(inherited: dict[str, str], file: str):
    assert database.certificate_file(inherited) == file


def test_the_certificates_of_the_system_need_no_file():
    assert database.connection({"PGSSLROOTCERT": "system"}) == {"DB_SSLROOTCERT": "system"}


@pytest.mark.parametrize("name", ["PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGSERVICE"])
def test_a_variable_with_a_file_is_refused(name: str):
    with pytest.raises(PreconditionFailed, match=rf"^{name}=/file belongs to a file of this machine, which a pod does not have; give "):
        database.require_transferable({name: "/file"}, place="a pod")
