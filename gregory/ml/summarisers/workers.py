"""How many batches BART summarises at once, and with how many threads each. No CTranslate2.

Two batches with one thread each are faster than one batch with two threads: docs/decisions/0022-threads.md. CTranslate2 shares the
weights between them, and each batch has arrays of its own.
"""

from dataclasses import dataclass

from gregory.ml.config import SummariserConfig

# A model of the size of BART-large needed 144,000: `python -m benchmarks.summaries --memory`. A smaller one needs less.
_BYTES_PER_TOKEN = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """batches: at once. threads: of each batch."""

    batches: int
    threads: int


def batch_bytes(config: SummariserConfig, *, beams: int) -> int:
    """The memory of one batch at the limits of the configuration."""
    return config.batch_size * (config.max_source_tokens + beams * config.max_new_tokens) * _BYTES_PER_TOKEN


def divided(threads: int, *, free: int, weights: int, batch: int) -> Workers:
    """One batch per thread, or fewer batches with more threads if not all fit into memory. All sizes are in bytes.

    free: available before the model is loaded. weights: the file of the model, which loading needs twice. batch: for one batch.
    """
    batches = max(1, min(threads, (free - 2 * weights) // batch))
    return Workers(batches=batches, threads=threads // batches)
