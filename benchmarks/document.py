"""docs/benchmarks.md, made from the kept results: one table of ratios, then the output of each benchmark."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import psutil
from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmarks.ratios import Ratio
from benchmarks.registry import BENCHMARKS, Benchmark
from benchmarks.releases import REPOSITORY

RESULTS, DOCUMENT = REPOSITORY / "benchmarks" / "results.json", REPOSITORY / "docs" / "benchmarks.md"
LIBRARIES = ("tensorflow", "keras", "ctranslate2", "lightgbm", "scikit-learn", "django", "psycopg")
# If other programs use more of the processors than this part, they disturb wall times.
_BUSY = 0.25
_LOAD_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One execution of a benchmark. machine: processors, memory, Python and libraries.

    load: processors that other programs used just before it or just after it, whichever was more.
    """

    arguments: tuple[str, ...]
    commit: str
    date: str
    load: float
    processors: int
    machine: str
    ratios: tuple[Ratio, ...]
    output: tuple[str, ...]

    @property
    def is_busy(self) -> bool:
        """Whether other programs used the machine."""
        return self.load > _BUSY * self.processors


_STORED = TypeAdapter(dict[str, Result], config=ConfigDict(extra="forbid"))
REMEDY = "Restore the file: git checkout benchmarks/results.json"


class DamagedResults(ValueError):
    """The file of the results is no JSON, or has not the fields of results."""


def load() -> float:
    """The processors in use for some seconds. The load average of the kernel would still count the benchmark before."""
    return float(psutil.cpu_percent(_LOAD_SECONDS)) / 100 * (os.cpu_count() or 1)


def machine() -> str:
    """This machine and the versions of the libraries."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{os.cpu_count()} processors ({platform.machine()}), {pages:.0f} GiB, Python {platform.python_version()}, {libraries}"


def load_results(path: Path = RESULTS) -> dict[str, Result]:
    """The kept results by module. Raises DamagedResults."""
    if not path.exists():
        return {}
    try:
        return _STORED.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedResults(f"{path}: {place}{': ' if place else ''}{first['msg']}. {REMEDY}, or remove it") from error


def keep(module: str, result: Result, path: Path = RESULTS) -> None:
    """Replace the result of one benchmark. The others stay."""
    results = load_results(path) | {module: replace(result)}
    known = [benchmark.module for benchmark in BENCHMARKS]
    content = {name: asdict(results[name]) for name in known if name in results}
    unfinished = path.with_suffix(".partial")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def render(results: Mapping[str, Result], benchmarks: Iterable[Benchmark] = BENCHMARKS) -> str:
    """The document."""
    benchmarks = list(benchmarks)
    measured = [benchmark for benchmark in benchmarks if benchmark.module in results]
    lines = [
        "# Benchmarks",
        "",
        "`make bench` measures in minutes, and `make bench-full` takes hours. Each command replaces its results in this page.",
        "`python -m benchmarks --list` prints all benchmarks with their needs.",
        "",
        "A ratio above 1 means that the figure is better than that of the baseline. The baseline of the operator pages is this release",
        "with one run. Their ratios are below 1, because more runs make a page slower.",
        "",
        '"Busy": other programs used the machine before or after the benchmark. Then ratios of wall time are not exact.',
        "",
        "| benchmark | figure | baseline | ratio | lowest | highest | pairs | machine |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for benchmark in measured:
        result = results[benchmark.module]
        state = "busy" if result.is_busy else "idle"
        for one in result.ratios:
            figures = f"{one.median:.2f} | {one.lowest:.2f} | {one.highest:.2f} | {one.pairs}"
            lines.append(f"| {benchmark.title} | {one.figure} | {one.baseline} | {figures} | {state} |")
    for benchmark in measured:
        lines += ["", *_section(benchmark, results[benchmark.module])]
    missing = [f"`{benchmark.module}`" for benchmark in benchmarks if benchmark.module not in results]
    lines += ["", "## Not measured", "", f"No result is kept of: {', '.join(missing)}." if missing else "Every benchmark has a result."]
    return "\n".join(lines) + "\n"


def _section(benchmark: Benchmark, result: Result) -> list[str]:
    command = " ".join((benchmark.command, *result.arguments))
    busy = ", busy" if result.is_busy else ""
    return [
        f"## {benchmark.title}",
        "",
        f"`{command}`",
        "",
        f"- Baseline: {benchmark.baseline}.",
        f"- Commit `{result.commit}`, {result.date}, other programs used {result.load:.1f} processors{busy}.",
        f"- {result.machine}.",
        "",
        "```text",
        *(line.rstrip() for line in result.output),
        "```",
    ]
