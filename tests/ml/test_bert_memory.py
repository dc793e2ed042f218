import pytest

from gregory.ml.trainers.bert_memory import EncoderSize, largest_micro_batch, step_bytes

GIB = 2**30
BASE = EncoderSize(layers=12, heads=12, hidden=768, inner=3072, parameters=109_482_240)
MINILM = EncoderSize(layers=6, heads=12, hidden=384, inner=1536, parameters=22_713_216)


# Peaks in MiB of benchmarks/bert_memory.py's step, TensorFlow 2.21 on a CPU: decision 0011.
EVERYTHING_KEPT = [
    (BASE, 1, 400, 4413),
    (BASE, 2, 400, 4939),
    (BASE, 4, 400, 6123),
    (MINILM, 1, 400, 2020),
    (MINILM, 4, 400, 2613),
    (MINILM, 8, 400, 3441),
    (MINILM, 16, 400, 4859),
    (MINILM, 16, 128, 2134),
]
COMPUTED_AGAIN = [
    (BASE, 1, 400, 3209),
    (BASE, 2, 400, 3602),
    (BASE, 4, 400, 4358),
    (BASE, 16, 400, 8463),
    (BASE, 8, 128, 3696),
    (MINILM, 1, 400, 1374),
    (MINILM, 4, 400, 1735),
    (MINILM, 8, 400, 2262),
    (MINILM, 16, 400, 3299),
    (MINILM, 16, 128, 1659),
]
# The highest phases of benchmarks/bert_phases.py.
PHASES = [("save the model", 3368), ("load the saved model", 3506)]


@pytest.mark.parametrize(("size", "examples", "length", "measured_mib"), EVERYTHING_KEPT)
def test_the_estimate_for_a_gpu_is_near_the_measurement(size: EncoderSize, examples: int, length: int, measured_mib: int) -> None:
    estimate = step_bytes(size, examples=examples, length=length, is_gpu=True) / 2**20
    assert 0.95 * measured_mib < estimate < 1.25 * measured_mib


@pytest.mark.parametrize(("size", "examples", "length", "measured_mib"), COMPUTED_AGAIN)
def test_the_estimate_for_a_cpu_is_a_little_above_the_measurement(size: EncoderSize, examples: int, length: int, measured_mib: int) -> None:
    estimate = step_bytes(size, examples=examples, length=length, is_gpu=False) / 2**20
    assert measured_mib <= estimate < 1.1 * measured_mib


@pytest.mark.parametrize(("phase", "measured_mib"), PHASES)
def test_the_estimate_covers_the_phases_after_the_fit(phase: str, measured_mib: int) -> None:
    assert step_bytes(BASE, examples=1, length=400, is_gpu=False) / 2**20 >= measured_mib, phase


@pytest.mark.parametrize(
    ("is_gpu", "available_gib", "length", "examples"),
    [
        (True, 24, 400, 16),
        (True, 14, 400, 8),
        (True, 8, 400, 4),
        (True, 8, 128, 16),
        (True, 6, 400, 1),
        (True, 1, 400, 1),
        (True, 0, 400, 1),
        (False, 14, 400, 16),
        (False, 8, 400, 8),
        (False, 6, 400, 4),
        (False, 5, 400, 2),
        (False, 4, 400, 1),
        (False, 0, 400, 1),
    ],
)
def test_the_micro_batch_fits_into_memory(is_gpu: bool, available_gib: int, length: int, examples: int) -> None:
    assert largest_micro_batch(BASE, batch_size=16, length=length, available=available_gib * GIB, is_gpu=is_gpu) == examples


def test_half_of_an_odd_number_is_rounded_up() -> None:
    quarters = [quarter * GIB // 4 for quarter in range(16, 80)]
    chosen = {largest_micro_batch(BASE, batch_size=10, length=400, available=available, is_gpu=False) for available in quarters}
    assert chosen == {10, 5, 3, 2, 1}


@pytest.mark.parametrize(("length", "examples"), [(128, 16), (129, 8), (400, 4)])
def test_the_micro_batch_has_at_most_the_given_tokens(length: int, examples: int) -> None:
    assert largest_micro_batch(MINILM, batch_size=16, length=length, available=24 * GIB, is_gpu=False, tokens=2048) == examples
