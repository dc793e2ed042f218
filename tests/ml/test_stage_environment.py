"""The variables that a stage gets from its run."""

import pytest

from gregory.ml import resources
from gregory.ml.stages.environment import stage_environment, stage_threads

BARE = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "3",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}


@pytest.fixture(autouse=True)
def three_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cpu_count", lambda: 3)


def test_a_stage_waits_passively_with_the_threads_of_the_quota_and_without_a_network() -> None:
    assert stage_environment({}) == BARE


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_TF32_OVERRIDE",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "GOMP_SPINCOUNT",
        "OPENBLAS_NUM_THREADS",
        "XLA_FLAGS",
        "TF_CPP_MIN_LOG_LEVEL",
        "TF_FORCE_GPU_ALLOW_GROWTH",
        "TF_XLA_FLAGS",
        "CT2_VERBOSE",
        "HDF5_USE_FILE_LOCKING",
        "MALLOC_ARENA_MAX",
    ],
)
def test_a_setting_of_the_operator_reaches_the_libraries(name: str) -> None:
    assert stage_environment({name: "theirs"}) == {**BARE, name: "theirs"}


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_PASSWORD",
        "PGPASSWORD",
        "SECRET_KEY",
        "GREGORY_RUN_SPEC",
        "DB_HOST",
        "HF_TOKEN",
        "NVIDIA_API_KEY",
        "TF_VAR_db",
        "TF_TOKEN_app_terraform_io",
        "AWS_SECRET_ACCESS_KEY",
        "https_proxy",
    ],
)
def test_a_credential_or_an_address_stays_in_the_run(name: str) -> None:
    assert stage_environment({name: "theirs"}) == BARE


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PYTHONHASHSEED"])
def test_a_stage_is_offline_and_repeatable_whatever_the_operator_sets(name: str) -> None:
    assert stage_environment({name: "theirs"}) == BARE


@pytest.mark.parametrize(("most", "threads"), [("", 3), ("1", 1), ("2,1", 2), ("64", 3)])
def test_the_threads_of_a_stage_are_those_of_the_quota_and_at_most_those_of_the_operator(most: str, threads: int) -> None:
    assert stage_threads(most) == threads
