"""How the threads of a machine are divided between the batches of BART."""

import pytest

from gregory.ml.config import SummariserConfig
from gregory.ml.summarisers.workers import Workers, batch_bytes, divided

GIB = 2**30


@pytest.mark.parametrize(
    ("threads", "free_gib", "batches", "threads_each"),
    [
        (1, 64, 1, 1),
        (2, 64, 2, 1),
        (8, 64, 8, 1),
        (8, 25, 8, 1),
        (8, 24, 7, 1),
        (8, 13, 4, 2),
        (8, 10, 3, 2),
        (8, 7, 2, 4),
        (8, 6, 1, 8),
        (8, 0, 1, 8),
    ],
)
def test_each_batch_has_a_thread_as_far_as_the_memory_is_enough(threads: int, free_gib: int, batches: int, threads_each: int) -> None:
    found = divided(threads, free=free_gib * GIB, weights=GIB // 2, batch=3 * GIB)
    assert found == Workers(batches=batches, threads=threads_each)


def test_a_larger_batch_needs_more_memory() -> None:
    usual = batch_bytes(SummariserConfig(), beams=4)
    assert batch_bytes(SummariserConfig(batch_size=8), beams=4) == 2 * usual
    assert batch_bytes(SummariserConfig(max_source_tokens=512), beams=4) < usual
    assert batch_bytes(SummariserConfig(), beams=8) > usual
