"""The command line and the environment of a stage."""

import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from gregory.ml import resources
from gregory.ml.stages.variables import is_passed_on

DEVICES, GPU_DEVICES = Path("/dev"), ("nvidia*", "kfd", "dxg")
_FIXED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
    # It would search all installed packages for plugins.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}


def stage_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a stage, from that of the run. A value of the operator comes before a default."""
    return {**_defaults(), **{name: value for name, value in inherited.items() if is_passed_on(name)}, **_FIXED}


def worker_command(stage: str, folder: Path) -> list[str]:
    """The command line of the worker process of a stage."""
    return [sys.executable, "-m", "gregory.ml.stages", stage, "--in", str(folder / "in"), "--out", str(folder / "out"), "--lifeline"]


def preloaded(algorithms: Collection[str]) -> tuple[str, ...]:
    """What a fork server loads before it forks the trainings of these algorithms, except the libraries of networks."""
    module = "gregory.ml.stages.libraries"
    return (f"{module}:load", "lgbm_tfidf") if "lgbm_tfidf" in algorithms else (f"{module}:load_shared",)


def network(algorithm: str) -> tuple[str, ...]:
    """What the fork server of the networks loads. Empty for another algorithm."""
    return () if algorithm in ("", "lgbm_tfidf") else ("gregory.ml.stages.libraries:load", algorithm)


def has_gpu() -> bool:
    """Whether this machine seems to have a GPU. No library of one is loaded to find out."""
    return any(any(DEVICES.glob(pattern)) for pattern in GPU_DEVICES)


def stage_threads(most: str) -> int:
    """The threads of a stage. most: OMP_NUM_THREADS, whose first number is the limit of the operator."""
    return min(resources.cpu_count(), int(most.partition(",")[0] or sys.maxsize))


def _defaults() -> dict[str, str]:
    return {
        **dict([resources.WAIT_POLICY]),
        # Trainers give their own numbers to their libraries.
        "OMP_NUM_THREADS": str(resources.cpu_count()),
        # With more, the import of NumPy starts a thread, and a process with threads cannot be forked.
        "OPENBLAS_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
