"""The ratio of a measurement to its named baseline, as a line that `python -m benchmarks` reads from the output of a benchmark."""

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Self

_MARK = "ratio: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The median of the ratios of pairs. figure: the measured quantity and the two sides of the ratio. baseline: its name.

    lowest, highest: of the pairs. They are the median if there is one pair.
    """

    figure: str
    baseline: str
    median: float
    lowest: float
    highest: float
    pairs: int

    @classmethod
    def of(cls, figure: str, ratios: Sequence[float], *, baseline: str) -> Self:
        """The ratio of these pairs."""
        return cls(
            figure=figure,
            baseline=baseline,
            median=statistics.median(ratios),
            lowest=min(ratios),
            highest=max(ratios),
            pairs=len(ratios),
        )


def show(figure: str, ratios: Sequence[float], *, baseline: str) -> None:
    """Print a ratio for `python -m benchmarks`."""
    print(f"{_MARK}{json.dumps(asdict(Ratio.of(figure, ratios, baseline=baseline)))}", flush=True)


def read(output: Iterable[str]) -> tuple[list[Ratio], list[str]]:
    """The ratios in the lines of an output, and the other lines."""
    return list(_ratios(output := list(output))), [line for line in output if not line.startswith(_MARK)]


def _ratios(output: Iterable[str]) -> Iterator[Ratio]:
    for line in output:
        if line.startswith(_MARK):
            yield Ratio(**json.loads(line.removeprefix(_MARK)))
