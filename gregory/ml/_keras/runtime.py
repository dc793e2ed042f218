"""The configuration of the libraries: environment, threads, seeds and device."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gregory.ml import resources
from gregory.ml.errors import MemoryExhausted, NoGpu
from gregory.ml.imports import hidden

# The libraries read these variables once, during their import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Only the benchmarks use other backends.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# The allocator of the system returns every large tensor to the kernel and requests it again: a quarter of BERT's time on a CPU.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

# Keras draws images with it if it is installed. No training needs that, and the import takes an eighth of the start of a process.
with hidden("matplotlib"):
    import keras as keras
    import tensorflow
    from tensorflow.python.client import device_lib

tf = tensorflow

tf.get_logger().setLevel("ERROR")

_BFLOAT16_SINCE = (8, 0)  # compute capability of the first NVIDIA generation that multiplies bfloat16


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The computing device. has_bfloat16: mixed precision is faster. free_bytes: memory for a training."""

    name: str
    is_gpu: bool
    has_bfloat16: bool
    free_bytes: int


def prepare(*, threads: int, seed: int | None = None, gpu_required: bool = False) -> None:
    """Limit the threads and the GPU memory, and compute float32 exactly. A seed also makes all random numbers repeatable.

    Raises NoGpu if a GPU is required and missing.
    """
    _limit_threads(threads)
    _let_gpu_memory_grow()
    # By default NVIDIA GPUs since Ampere shorten the factors of a float32 product to ten bits (TF32).
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # The network of the last fit.
    release_memory()
    if gpu_required:
        require_gpu()
    if seed is not None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()


def device() -> Device:
    """The first GPU that TensorFlow finds, or the CPU with the free memory of its control group."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return Device(name="CPU", is_gpu=False, has_bfloat16=False, free_bytes=resources.available_memory())
    details = tf.config.experimental.get_device_details(gpus[0])
    # The public API of TensorFlow does not contain the memory of a GPU.
    free = next(local.memory_limit for local in device_lib.list_local_devices() if local.device_type == "GPU")
    return Device(
        name=details.get("device_name", "GPU"),
        is_gpu=True,
        has_bfloat16=details.get("compute_capability", (0, 0)) >= _BFLOAT16_SINCE,
        free_bytes=free,
    )


def require_gpu() -> str:
    """The name of the GPU. Raises NoGpu, because a run with a GPU must not train on the CPU for days."""
    found = device()
    if not found.is_gpu:
        built = "with" if tf.test.is_built_with_cuda() else "without"
        raise NoGpu(
            f"this run requires a GPU, but TensorFlow, built {built} CUDA, finds none; "
            "check CUDA_VISIBLE_DEVICES, driver, device plugin and image, or run without GREGORY_REQUIRE_GPU"
        )
    return found.name


def release_memory() -> None:
    """Free unused networks and graphs, and give their memory back to the kernel."""
    # They are part of reference cycles, and the collector counts objects, not bytes.
    gc.collect()
    resources.return_free_memory()


@contextmanager
def translated_memory_errors() -> Iterator[None]:
    """Translate TensorFlow's ResourceExhaustedError to MemoryExhausted."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        first = error.message.strip().partition("\n")[0]
        raise MemoryExhausted(f"TensorFlow ran out of memory ({first}); give the run more memory, or lower the batch size") from error


def _limit_threads(threads: int) -> None:
    settings = tf.config.threading
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        # TensorFlow fixes its thread pools at their first use, so the first model of a process decides.
        return


def _let_gpu_memory_grow() -> None:
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        return  # the GPU is in use, so it is configured
