"""Every write of the run store is a transaction, because only transactions have limits on the server."""

import ast
from pathlib import Path

import pytest

from gregory.runs import store

FOLDER = Path(store.__file__).parent
WRITES = {"update", "create", "bulk_create", "bulk_update", "delete", "save"}


def writes(function: ast.FunctionDef) -> bool:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return any(isinstance(called, ast.Attribute) and called.attr in WRITES for called in calls)


PUBLIC = [
    function
    for path in sorted(FOLDER.glob("*.py"))
    for function in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(function, ast.FunctionDef) and function.name in store.__all__ and writes(function)
]


def test_the_writes_are_found():
    assert {"claim", "heartbeat", "finish_run", "record_event"} <= {function.name for function in PUBLIC}


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.name)
def test_a_write_is_a_transaction(function: ast.FunctionDef):
    assert "transaction.atomic" in ast.unparse(function)
