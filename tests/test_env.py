"""Wrong values of the environment end a program with one line."""

import pytest

from gregory.env import Environment, read_environment

OPTIONAL = [name for name, field in Environment.model_fields.items() if field.default is None or "empty:" in (field.description or "")]


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_empty_variable_has_its_default(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "")

    assert getattr(read_environment(), name) == Environment.model_fields[name].default


@pytest.mark.parametrize("address", ["hooks.example.org/secret", "https:///secret", "ftp://hooks.example.org/secret"])
def test_a_wrong_webhook_is_refused_without_its_text(monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("GREGORY_NOTIFY_WEBHOOK", address)

    with pytest.raises(SystemExit) as caught:
        read_environment()

    assert str(caught.value) == "environment variable GREGORY_NOTIFY_WEBHOOK: give https:// or http://, a host and a path"


@pytest.mark.parametrize("name", ["GREGORY_IMPORT_LINE", "GREGORY_IMPORT_CELL"])
def test_a_limit_beyond_that_of_csv_is_refused(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, str(2**31))

    with pytest.raises(SystemExit) as caught:
        read_environment()

    assert str(caught.value) == f"environment variable {name}: Input should be less than 2147483648 (got '2147483648')"
