"""The kind of a handle: derived from the host, for the stored handles of every version."""

import pytest

from gregory.runs.spec import HandleKind, RunHandle


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("workstation", HandleKind.PROCESS),
        ("workstation pid:[4026532000]", HandleKind.PROCESS),
        ("elsewhere@workstation", HandleKind.PROCESS),
        ("", HandleKind.PROCESS),
        ("docker@server#2JWX:ABCD", HandleKind.CONTAINER),
        ("kubernetes@5c1f2b1e/gregory-train", HandleKind.JOB),
    ],
)
def test_the_prefix_of_the_host_is_the_kind(host: str, kind: HandleKind):
    stored = RunHandle.model_validate_json(f'{{"host":"{host}","name":"n","uid":"u"}}')

    assert stored.kind is kind
    assert set(stored.model_dump()) == {"host", "name", "uid"}


@pytest.mark.parametrize("kind", HandleKind)
def test_a_host_that_is_made_for_a_kind_has_that_kind(kind: HandleKind):
    assert RunHandle(host=kind.host("address"), name="n", uid="u").kind is kind
