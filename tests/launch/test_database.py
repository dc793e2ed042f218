"""The variables of the database that a container and a pod get."""

import pytest

from gregory.launch import database
from gregory.launch.errors import PreconditionFailed


def test_the_connection_has_all_variables_without_a_file():
    inherited = {
        "DB_SSLMODE": "verify-full",
        "DB_REQUIRE_AUTH": "md5",
        "PGOPTIONS": "-c a=b",
        "PGSSLMODE": "",
        "PGSSLROOTCERT": "/ca",
        "PGHOST": "x",
        "HOME": "/",
    }

    assert database.connection(inherited) == {"DB_SSLMODE": "verify-full", "DB_REQUIRE_AUTH": "md5", "PGOPTIONS": "-c a=b"}


def test_a_run_has_the_role_of_runs_and_no_other_password():
    here = {"HOME": "/", "POSTGRES_DB": "gregory", "POSTGRES_USER": "commands", "POSTGRES_PASSWORD": "secret"}
    of_runs = {"POSTGRES_RUN_USER": "runs", "POSTGRES_RUN_PASSWORD": "other"}

    role = {"POSTGRES_DB": "gregory", "POSTGRES_USER": "runs", "POSTGRES_PASSWORD": "other"}
    assert database.credentials(here | of_runs) == role
    assert database.of_run(here | of_runs) == {"HOME": "/", **role}
    assert database.of_run(here) == here


def test_a_role_without_a_password_gets_none():
    here = {"POSTGRES_USER": "commands", "POSTGRES_PASSWORD": "secret", "POSTGRES_RUN_USER": "runs"}

    assert database.credentials(here) == {"POSTGRES_USER": "runs", "POSTGRES_PASSWORD": ""}


@pytest.mark.parametrize(
    ("inherited", "files"),
    [
        ({}, {}),
        ({"DB_SSLROOTCERT": "/ours", "PGSSLROOTCERT": "/libpq"}, {"DB_SSLROOTCERT": "/ours"}),
        ({"DB_SSLROOTCERT": "", "PGSSLROOTCERT": "/libpq"}, {"DB_SSLROOTCERT": "/libpq"}),
        ({"DB_SSLROOTCERT": "system"}, {}),
        ({"DB_SSLCERT": "/certificate", "PGSSLKEY": "/key"}, {"DB_SSLCERT": "/certificate", "DB_SSLKEY": "/key"}),
    ],
)
def test_the_files_of_the_connection(inherited: dict[str, str], files: dict[str, str]):
    assert database.files(inherited) == files


def test_the_certificates_of_the_system_need_no_file():
    assert database.connection({"PGSSLROOTCERT": "system"}) == {"DB_SSLROOTCERT": "system"}


@pytest.mark.parametrize("name", ["PGSSLCRL", "PGSSLCRLDIR", "PGSERVICE"])
def test_a_variable_with_a_file_is_refused(name: str):
    with pytest.raises(PreconditionFailed, match=rf"^{name}=/file belongs to a file of this machine, which a pod does not have; unset "):
        database.require_transferable({name: "/file"}, place="a pod")
