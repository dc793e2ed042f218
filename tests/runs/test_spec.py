"""Values of every version: the kind of a handle, which is derived from its host, and the keys of an outcome report."""

import pytest

from gregory.runs import report_key
from gregory.runs.spec import AlgorithmOutcome, HandleKind, RunHandle, RunOutcome


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


def test_a_signed_report_with_keys_of_a_newer_version_is_believed():
    key = report_key.new_key(1)
    ended = AlgorithmOutcome.model_validate(
        {"algorithm": "transformer", "run_log_id": 7, "version": "20260101", "success": False, "reason": "budget", "watts": 9}
    )
    signed = report_key.sign(RunOutcome.model_validate({"run_id": "r", "attempt": 1, "algorithms": (ended,), "site": "eu"}), key)

    read = report_key.verify(RunOutcome.model_validate_json(signed.model_dump_json()), key)

    assert read is not None
    assert [(algorithm.algorithm, algorithm.reason) for algorithm in read.algorithms] == [("transformer", "budget")]
