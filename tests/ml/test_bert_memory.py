import pytest

from gregory.ml.trainers.bert_memory import EncoderSize, largest_micro_batch, step_bytes

GIB = 2**30
BASE = EncoderSize(layers=12, heads=12, hidden=768, inner=3072, parameters=109_482_240)
MINILM = EncoderSize(layers=6, heads=12, hidden=384, inner=1536, parameters=22_713_216)


@pytest.mark.parametrize(
    ("size", "examples", "length", "measured_mib"),
    [
        # Peaks measured with benchmarks/bert_memory.py's step, TensorFlow 2.21 on a CPU.
        (BASE, 1, 400, 4413),
        (BASE, 2, 400, 4939),
        (BASE, 4, 400, 6123),
        (MINILM, 1, 400, 2020),
        (MINILM, 4, 400, 2613),
        (MINILM, 8, 400, 3441),
        (MINILM, 16, 400, 4859),
        (MINILM, 16, 128, 2134),
    ],
)
def test_the_estimate_is_near_the_measurement(size: EncoderSize, examples: int, length: int, measured_mib: int) -> None:
    estimate = step_bytes(size, examples=examples, length=length) / 2**20
    assert 0.95 * measured_mib < estimate < 1.25 * measured_mib


@pytest.mark.parametrize(
    ("available_gib", "length", "examples"), [(24, 400, 16), (14, 400, 8), (8, 400, 4), (8, 128, 16), (6, 400, 1), (1, 400, 1), (0, 400, 1)]
)
def test_the_micro_batch_fits_into_memory(available_gib: int, length: int, examples: int) -> None:
    assert largest_micro_batch(BASE, batch_size=16, length=length, available=available_gib * GIB) == examples


def test_half_of_an_odd_number_is_rounded_up() -> None:
    chosen = {largest_micro_batch(BASE, batch_size=10, length=400, available=gib * GIB) for gib in range(4, 20)}
    assert chosen == {10, 5, 3, 2, 1}


@pytest.mark.parametrize(("length", "examples"), [(128, 16), (129, 8), (400, 4)])
def test_the_micro_batch_has_at_most_the_given_tokens(length: int, examples: int) -> None:
    assert largest_micro_batch(MINILM, batch_size=16, length=length, available=24 * GIB, tokens=2048) == examples
