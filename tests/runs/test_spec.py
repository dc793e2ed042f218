"""Values of every version: the kind of a handle, which is derived from its host, and the keys of an outcome report."""

import pytest
from pydantic import ValidationError

from gregory.runs import report_key
from gregory.runs.spec import AlgorithmOutcome, HandleKind, PredictSpec, RunHandle, RunOutcome, RunSpec, TrainSpec
from tests.database_rows import prediction
from tests.launch.example_run import example_spec


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


def test_a_specification_is_read_as_the_kind_that_it_has():
    train, predict = example_spec(), prediction(1, team_id=1)

    read = [RunSpec.model_validate_json(spec.model_dump_json()) for spec in (train, predict)]

    assert read == [train, predict]
    assert [type(spec) for spec in read] == [TrainSpec, PredictSpec]
    assert [type(RunSpec.model_validate(spec.model_dump(mode="json"))) for spec in read] == [TrainSpec, PredictSpec]


def test_a_training_is_specified_as_by_an_older_release():
    assert "kind" not in example_spec().model_dump()


def test_a_release_without_predictions_refuses_one():
    with pytest.raises(ValidationError, match=r"kind\n  Extra inputs are not permitted"):
        TrainSpec.model_validate(prediction(1, team_id=1).model_dump(mode="json"))
