"""Every benchmark is registered, and docs/benchmarks.md is the output of the command."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import document, labelled_files, ratios
from benchmarks.document import Result, keep, load_results, render
from benchmarks.registry import BENCHMARKS, PARTS, Benchmark
from tools.installation import REPOSITORY

HERE = REPOSITORY / "benchmarks"
RESULT = Result(
    arguments=("--data", "DATA"),
    commit="0123abc",
    date="2026-11-29",
    load=0.5,
    processors=2,
    machine="2 processors",
    ratios=(ratios.Ratio.of("wall time", [2.0, 4.0, 3.0], baseline="the older release"),),
    output=("| a |", "|---|"),
)


def source(module: str) -> Path:
    file = HERE / f"{module}.py"
    return file if file.exists() else HERE / module / "__main__.py"


def test_every_module_is_a_benchmark_or_a_part():
    modules = {path.stem for path in HERE.glob("[!_]*.py")} | {path.parent.name for path in HERE.glob("*/__main__.py")}

    registered = [benchmark.module for benchmark in BENCHMARKS]

    assert sorted([*registered, *PARTS]) == sorted(modules)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.module)
def test_a_benchmark_has_its_arguments_shows_ratios_and_obeys_signals(benchmark: Benchmark):
    text = source(benchmark.module).read_text(encoding="utf-8")
    declared = {
        call.args[0].value
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument" and isinstance(call.args[0], ast.Constant)
    }

    flags = {argument for arguments in (benchmark.quick or (), benchmark.full) for argument in arguments if argument.startswith("--")}

    assert flags <= declared
    assert ".show(" in text
    assert re.search(r"import .*\bratios\b", text)
    assert "children.execute(" in text


def test_the_document_is_the_output_of_the_command():
    assert document.DOCUMENT.read_text(encoding="utf-8") == render(load_results())


def test_a_result_is_kept_and_shown(tmp_path: Path):
    first, second = BENCHMARKS[0], BENCHMARKS[3]
    file = tmp_path / "results.json"
    keep(second.module, RESULT, file)
    keep(first.module, replace(RESULT, load=8.0), file)

    page = render(load_results(file))

    assert load_results(file) == {first.module: replace(RESULT, load=8.0), second.module: RESULT}
    assert f"| {first.title} | wall time | the older release | 3.00 | 2.00 | 4.00 | 3 | busy |" in page
    assert f"| {second.title} | wall time | the older release | 3.00 | 2.00 | 4.00 | 3 | idle |" in page
    assert f"`{second.command} --data DATA`" in page
    assert f"`{BENCHMARKS[1].module}`" in page.partition("## Not measured")[2]


def test_the_lines_of_ratios_are_not_in_the_output(capsys: pytest.CaptureFixture[str]):
    ratios.show("peak", [1.5], baseline="before")

    found, rest = ratios.read(["| a table |", *capsys.readouterr().out.splitlines()])

    assert found == [ratios.Ratio(figure="peak", baseline="before", median=1.5, lowest=1.5, highest=1.5, pairs=1)]
    assert rest == ["| a table |"]


def test_rows_without_a_label_are_left_out(tmp_path: Path):
    header = "title,abstract,label\n"
    (tmp_path / "pool.csv").write_text(header + "A,B,\nC,D,\n")
    (tmp_path / "some.csv").write_text(header + "A,B,\nC,D,1\nE,F,0\n")

    assert [labelled_files.is_labelled(tmp_path / name) for name in ("pool.csv", "some.csv")] == [False, True]
    assert [example.label for example in labelled_files.read(tmp_path / "some.csv", words=None).examples] == [1, 0]
