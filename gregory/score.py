"""Texts on standard input -> probabilities on standard output, with the model of a version folder. No database, no Django.

    python -m gregory.score MODEL_FOLDER < texts.csv > scored.csv

The input is a CSV file with a header: the column text, or title and summary, and an optional id. The text of a training has a
summary in place of the abstract, so give the summaries if you have them. Lines keep their order.
"""

import argparse
import csv
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from gregory.ml.artifacts import not_its_place, read_manifest, stated_place
from gregory.ml.config import ALGORITHMS
from gregory.ml.dataset import UnlabelledText
from gregory.ml.errors import ArtifactError, ConfigError, TrainingError
from gregory.ml.manifest import Manifest
from gregory.ml.text import abstract, clean, join
from gregory.ml.thresholds import parse
from gregory.ml.usable_models import chosen_threshold
from gregory.output import Output, counted
from gregory.runs.exit_codes import FAILURE, SUCCESS, of_signal
from gregory.shutdown import replaceable_handlers

# Python's csv stops at 128 KiB per field, and an "abstract" may be a full text.
FIELD_LIMIT = 64 * 2**20
_IDS, _TEXT, _TITLE, _SUMMARIES = ("id", "article_id", "pmid"), "text", "title", ("summary", "abstract")


class _Unusable(Exception):
    """The input is no file of texts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gregory.score", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL_FOLDER", help="folder of one version")
    parser.add_argument(
        "--threshold",
        metavar="X",
        help="probability from which a text is relevant: a number, best-f1 or recall=0.95 (default: of the model)",
    )
    options = parser.parse_args(arguments)
    try:
        choice = None if options.threshold is None else str(parse(options.threshold))
    except ConfigError as error:
        parser.error(f"--{error}")
    if sys.stdin is None:
        parser.error("standard input is closed; give a CSV file: < texts.csv")
    sys.stdin.reconfigure(encoding="utf-8-sig", newline="")  # type: ignore[union-attr]
    output = Output(sys.stdout)
    try:
        _score(sys.stdin, output, options.model, choice)
    except KeyboardInterrupt:
        return of_signal(signal.SIGINT)
    except (TrainingError, _Unusable, UnicodeDecodeError, OSError, ModuleNotFoundError) as error:
        Output(sys.stderr).write(f"{_sentence(error)}\n")
        return FAILURE
    output.finish()
    return FAILURE if output.error is not None else SUCCESS


def _sentence(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"standard input is not UTF-8 ({error.reason}); save it as UTF-8"
    if isinstance(error, ModuleNotFoundError):
        return f"the library {error.name} is not installed, and this model needs it; install the extra `score` of gregory-train"
    return str(error)


def _score(source: IO[str], target: Output, folder: Path, choice: str | None) -> None:
    csv.field_size_limit(FIELD_LIMIT)
    lines = _Lines(source)
    columns = _columns(next(lines, []))
    # Loading takes seconds, so the header comes first.
    from gregory.ml.load import load_model
    from gregory.ml.prediction import predict
    from gregory.ml.progress import silent

    model = load_model(folder)
    manifest = read_manifest(folder)
    _refuse_copy(folder.resolve(), manifest)
    limit = manifest.config.prob_threshold if choice is None else chosen_threshold(folder, choice)
    ids: list[str] = []
    target.write("id,probability,relevant\n")
    # The total is unknown: standard input is read once.
    for prediction in predict(model, _texts(lines, columns, ids, manifest.data.text_version), total=1, report=silent):
        # A spreadsheet or a pipe may cut a long file, so each line is complete.
        identity = _quoted(ids[prediction.article_id])
        target.write(f"{identity},{prediction.probability!r},{int(prediction.probability >= limit)}\n")


def _refuse_copy(folder: Path, manifest: Manifest) -> None:
    """Raise ArtifactError if a folder in a models folder is a copy of the model of another place. Elsewhere a copy may have any name."""
    stated = stated_place(manifest)
    if len(folder.parts) < 5 or folder.parent.name not in ALGORITHMS or "/".join(folder.parts[-4:]) == stated:
        return
    original = folder.parents[3] / stated
    if folder.parent.name != manifest.algorithm or original.exists():
        raise ArtifactError(f"{not_its_place(folder, manifest)}; use {original}, or a model of the place itself")


class _Lines:
    """The lines of a CSV file. number: that of the last one. Raises _Unusable where the cells are not clear."""

    def __init__(self, source: IO[str]) -> None:
        self._reader = csv.reader(source, strict=True)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> list[str]:
        begin = self.number + 1
        try:
            return next(self._reader)
        except csv.Error as error:
            remedy = "check for a quote that is not closed or not doubled"
            raise _Unusable(f"line {begin} of standard input is not CSV: {error}; {remedy}") from error

    @property
    def number(self) -> int:
        return self._reader.line_num


def _texts(lines: _Lines, columns: dict[str, int], ids: list[str], version: int) -> Iterator[UnlabelledText]:
    """The texts, numbered from 0. ids: gets the id of each."""
    for number, line in enumerate(line for line in lines if line):
        if len(line) <= max(columns.values()):
            raise _Unusable(f"line {lines.number} has {counted(len(line), 'column')}, and the header has more; correct the line")
        cells = {name: line[position] for name, position in columns.items()}
        fields = {name: clean(cell) for name, cell in cells.items()} | {"summary": abstract(cells.get("summary"), version=version)}
        ids.append(fields.get("id") or str(number + 1))
        text = fields["text"] if "text" in fields else join(fields.get("title", ""), fields["summary"])
        yield UnlabelledText(article_id=number, text=text)


def _columns(header: Sequence[str]) -> dict[str, int]:
    """The positions of the known columns. Raises _Unusable without a text."""
    if not header:
        raise _Unusable("standard input is empty; give a CSV file with a header")
    names = [name.strip().casefold() for name in header]
    found = {}
    for known, accepted in (("id", _IDS), ("text", (_TEXT,)), ("title", (_TITLE,)), ("summary", _SUMMARIES)):
        if present := [name for name in accepted if name in names]:
            found[known] = names.index(present[0])
    if not {"text", "title"} & found.keys():
        raise _Unusable(
            "the header of standard input has no column text, and no column title; its columns, separated by commas, are: "
            + ", ".join(names)
        )
    return found


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if set(value) & set(',"\n\r') else value


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(of_signal(number))


if __name__ == "__main__":
    # The default action of both leaves the copy of the model in the temporary folder.
    for one in replaceable_handlers((signal.SIGTERM, signal.SIGHUP)):
        signal.signal(one, _exit)
    sys.exit(main())
