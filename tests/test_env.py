"""Wrong values of the environment end a program with one line."""

import re

import pytest

from gregory.env import Environment, read_environment


def refusal() -> str:
    """The message. Empty if the values are accepted."""
    try:
        read_environment()
    except SystemExit as refused:
        return str(refused)
    return ""


OPTIONAL = [name for name, field in Environment.model_fields.items() if field.default is None or "empty:" in (field.description or "")]


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_empty_variable_has_its_default(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "")

    assert getattr(read_environment(), name) == Environment.model_fields[name].default


@pytest.mark.parametrize("address", ["hooks.example.org/secret", "https:///secret", "ftp://hooks.example.org/secret"])
def test_a_wrong_webhook_is_refused_without_its_text(monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("GREGORY_NOTIFY_WEBHOOK", address)

    assert refusal() == "environment variable GREGORY_NOTIFY_WEBHOOK: give https:// or http://, a host and a path"


REMEDIES = {
    "DB_SSLMODE": ("on", "give disable, allow, prefer, require, verify-ca or verify-full"),
    "DB_REQUIRE_AUTH": ("tls", "give methods of libpq's require_auth, separated by commas, such as scram-sha-256"),
    "DB_PORT": ("x", "give a whole number"),
    "OMP_NUM_THREADS": ("0", "give a number of threads, 1 or more"),
    "GREGORY_LOCAL_RUNS": ("1000", "give a whole number from 1 to 64"),
    "GREGORY_BASE_MODELS_DIGEST": ("abc", "give 64 digits, 0-9 and a-f, as `sha256sum bundle.json` prints them"),
    "GREGORY_STALE_AFTER": ("59", "give a whole number, 60 or more"),
    "GREGORY_METRICS_PORT": ("0", "give a whole number from 1 to 65535"),
    "GREGORY_PROMOTE_MARGIN": ("nan", "give a number from 0 to less than 1"),
    "GREGORY_REQUIRE_GPU": ("maybe", "give true or false"),
    "GREGORY_DOCKER_GPUS": ("-1", "give a number of GPUs, 1 or more, or all"),
    "GREGORY_DOCKER_MEMORY": ("8", "give a whole number and a unit, k, m or g, such as 8g"),
    # The csv module has this limit.
    "GREGORY_IMPORT_LINE": (str(2**31), "give a whole number from 1 to less than 2147483648"),
    "GREGORY_IMPORT_CELL": (str(2**31), "give a whole number from 1 to less than 2147483648"),
    "GREGORY_EVENT_FORMAT": ("yaml", "give text or json"),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_a_wrong_value_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, name: str):
    value, remedy = REMEDIES[name]
    monkeypatch.setenv(name, value)

    assert refusal() == f"environment variable {name} is '{value}': {remedy}"


@pytest.mark.parametrize("name", Environment.model_fields)
def test_a_text_that_is_refused_has_a_remedy(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "?")

    assert re.fullmatch(rf"environment variable {name}( is '\?')?: .*\bgive .*|", refusal())
