"""Abstracts -> summaries: the contract of a summariser, its selection by the bundle, and the loop over a corpus.

The summarisers are in `summarisers/`. This module has no cache and does not join titles.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, RootModel

from gregory.ml.base_models import read_settings
from gregory.ml.config import SummariserConfig
from gregory.ml.progress import Progress, Report
from gregory.ml.progress_log import ProgressLog, work_digest
from gregory.output import counted

SETTINGS_FILE = "summariser.json"
SECONDS_BETWEEN_REPORTS = 5.0


class Summariser(Protocol):
    """A model that shortens texts. at_once: the number of threads that may call `summarise` at the same time."""

    at_once: int

    @property
    def compute(self) -> dict[str, str]:
        """Facts of the machine that change summaries, e.g. {"compute_type": "int8"}. The manifest keeps them."""

    def summarise(self, texts: Sequence[str]) -> list[str]:
        """One summary per text, in the same order. `texts` is one batch without empty texts."""


class _LeadingSentences(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["leading_sentences"]
    words: Annotated[int, Field(ge=1)]


class _Bart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["bart_ctranslate2"]


class _Settings(RootModel[_LeadingSentences | _Bart]):
    root: Annotated[_LeadingSentences | _Bart, Field(discriminator="kind")]


def has_generation(folder: Path) -> bool:
    """Whether the bundle's summariser writes tokens, so that it has limits of them. Raises BundleError."""
    return isinstance(read_settings(folder / SETTINGS_FILE, _Settings).root, _Bart)


def load_summariser(folder: Path, config: SummariserConfig, *, threads: int) -> Summariser:
    """The summariser that the bundle's `summariser.json` names.

    Raises BundleError if that file or the model is missing or wrong, and ConfigError if `config` exceeds its limits.
    """
    settings = read_settings(folder / SETTINGS_FILE, _Settings).root
    if isinstance(settings, _LeadingSentences):
        from gregory.ml.summarisers.leading import LeadingSentences

        return LeadingSentences(words=settings.words)
    from gregory.ml.summarisers.bart import BartOnCTranslate2

    return BartOnCTranslate2(folder, config, threads=threads)


def summarise_all(
    abstracts: Sequence[str],
    summariser: Summariser,
    *,
    batch_size: int,
    report: Report,
    clock: Callable[[], float] = time.monotonic,
    resume_file: Path | None = None,
) -> list[str]:
    """One summary per abstract, in the same order. A blank abstract gives "" without the summariser.

    resume_file: file of the completed batches; an interrupted stage continues from it; it belongs to one run, not to the texts.
    clock: seconds from any origin; progress is reported at most every SECONDS_BETWEEN_REPORTS, and once at the end.
    """
    # Texts of similar length share a batch, which needs little padding. The longest come first, so memory runs out at once or never.
    waiting = sorted((index for index, abstract in enumerate(abstracts) if abstract.strip()), key=lambda index: -len(abstracts[index]))
    summaries = [""] * len(abstracts)
    progress_log = ProgressLog(resume_file, work=work_digest(str(batch_size), texts=abstracts))
    for index, summary in (pair for entry in progress_log.entries for pair in entry):
        summaries[index] = summary
    begun = len(progress_log.entries) * batch_size
    if begun:
        report(Progress(message=f"continuing after {min(begun, len(waiting))} of {len(waiting)} abstracts"))
    last_reported, done = clock(), begun
    batches = [waiting[start : start + batch_size] for start in range(begun, len(waiting), batch_size)]
    executor = ThreadPoolExecutor(summariser.at_once)
    try:
        results = executor.map(lambda batch: summariser.summarise([abstracts[index] for index in batch]), batches)
        # The results are in order, also if a later batch is complete first. So the log has no gap.
        for batch, made in zip(batches, results, strict=True):
            if len(made) != len(batch):
                raise RuntimeError(f"{type(summariser).__name__} returned {len(made)} summaries for a batch of {len(batch)} texts")
            for index, summary in zip(batch, made, strict=True):
                summaries[index] = summary
            progress_log.append(list(zip(batch, made, strict=True)))
            done += len(batch)
            now = clock()
            if done < len(waiting) and now - last_reported >= SECONDS_BETWEEN_REPORTS:
                last_reported = now
                report(Progress(message=f"summarised {done} of {len(waiting)} abstracts", fraction=done / len(waiting)))
    finally:
        # After an error the executor would first complete all other batches.
        executor.shutdown(cancel_futures=True)
    blank = len(abstracts) - len(waiting)
    report(Progress(message=f"summarised {counted(len(waiting), 'abstract')}, {blank} blank", fraction=1.0))
    return summaries
