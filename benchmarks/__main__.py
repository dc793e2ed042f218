"""Execute the benchmarks, keep their results, and write docs/benchmarks.md.

    python -m benchmarks [--full] [--only NAME ...] [--data DIR] [--model DIR] [--list] [--document]

Without --full, only those of minutes are executed. --only names modules of this package. A benchmark whose needs are missing is left out
and named. A benchmark that fails keeps its earlier result, and the exit code is then 1. --document only writes the document.
Exit code 2: nothing was executed, because a folder is missing or the kept results are damaged.
"""

import argparse
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from benchmarks import children
from benchmarks.document import DOCUMENT, REMEDY, RESULTS, DamagedResults, Result, keep, load, load_results, machine, render
from benchmarks.ratios import read
from benchmarks.registry import BENCHMARKS, Benchmark, Need
from benchmarks.releases import REPOSITORY, commit
from tools import postgresql


def missing(benchmark: Benchmark, *, data: Path | None, model: Path | None) -> list[Need]:
    """The needs of a benchmark that this machine or this command lacks."""
    has = {
        Need.DATA: data is not None,
        Need.MODEL: model is not None,
        Need.ENCODER: (REPOSITORY / "base_models" / "encoder").is_dir(),
        Need.POSTGRESQL: postgresql.binaries() is not None,
        Need.CLUSTER: os.geteuid() == 0,
        Need.JAX: find_spec("jax") is not None,
    }
    return sorted(need for need in benchmark.needs if not has[need])


def execute(benchmark: Benchmark, arguments: tuple[str, ...], *, data: Path | None, model: Path | None) -> Result | None:
    """The result of a benchmark, whose output is printed as it comes. None if it fails."""
    # The paths of this machine are in no document.
    places = {"data": str(data), "model": str(model)}
    command = [sys.executable, "-m", f"benchmarks.{benchmark.module}", *(argument.format(**places) for argument in arguments)]
    code, before, lines = commit(), load(), []
    with children.started(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip("\n"))
        process.wait()
    if process.returncode:
        return None
    ratios, output = read(lines)
    return Result(
        arguments=tuple(argument.format(data="DATA", model="MODEL") for argument in arguments),
        commit=code,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        load=round(max(before, load()), 1),
        processors=os.cpu_count() or 1,
        machine=machine(),
        ratios=tuple(ratios),
        output=tuple(output),
    )


def refusal(*, data: Path | None, model: Path | None, results: Path, only_document: bool) -> str | None:
    """The reason why nothing can be executed, with the remedy. None: there is none."""
    for option, folder in {"--data": data, "--model": model}.items():
        if folder and not folder.is_dir():
            return f"{option} {folder}: there is no such folder. Name an existing one."
    if only_document and not results.exists():
        return f"{results} is missing. {REMEDY}"
    try:
        load_results(results)
    except DamagedResults as error:
        return str(error)
    return None


def write_document() -> None:
    """Write docs/benchmarks.md from the kept results."""
    DOCUMENT.write_text(render(load_results(RESULTS)), encoding="utf-8")


def main() -> int:
    """Execute the chosen benchmarks one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", nargs="+", choices=[benchmark.module for benchmark in BENCHMARKS], metavar="NAME")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--document", action="store_true")
    options = parser.parse_args()
    if options.list:
        for benchmark in BENCHMARKS:
            needs = f"; needs {', '.join(sorted(benchmark.needs))}" if benchmark.needs else ""
            print(f"{benchmark.module}: {benchmark.title}, beside {benchmark.baseline}{needs}")
        return 0
    data, model = (path.resolve() if path else None for path in (options.data, options.model))
    if problem := refusal(data=data, model=model, results=RESULTS, only_document=options.document):
        print(problem, file=sys.stderr)
        return 2
    failed = []
    for benchmark in () if options.document else BENCHMARKS:
        arguments = benchmark.full if options.full or benchmark.quick is None else benchmark.quick
        if benchmark.module not in options.only if options.only else benchmark.quick is None and not options.full:
            continue
        if lacks := missing(benchmark, data=data, model=model):
            print(f"{benchmark.module} is left out: it needs {', '.join(lacks)}", flush=True)
            # A benchmark that was asked for by name must not be left out in silence.
            failed += [benchmark.module] if options.only else []
            continue
        began = time.monotonic()
        print(f"== {benchmark.module}: {benchmark.title}", flush=True)
        result = execute(benchmark, arguments, data=data, model=model)
        if result is None:
            failed.append(benchmark.module)
        else:
            keep(benchmark.module, result, RESULTS)
            write_document()
        print(f"== {time.monotonic() - began:.0f} s\n", flush=True)
    if options.document:
        write_document()
    if failed:
        print(f"without a new result: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    children.execute(main)
