"""Threads, deterministic algorithms and the kind of machine, on which the last bits of a result depend.

The order in which a sum is computed depends on the number of threads, so that number is a param and not a property
of the machine. torch is configured only if it has been imported.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from timemachine.base.config import ComputeParams, Precision
from timemachine.base.errors import UserError

if TYPE_CHECKING:
    import torch

# Environment variables of OpenMP, BLAS and oneDNN start with these. They select the number of threads or the code
# for a processor, and so change the last bits of sums. The libraries read them when they are loaded.
CHANGE_SUMS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "ONEDNN_", "DNNL_", "ATEN_")
# These change no sum: threadpoolctl sets the first one, which permits two copies of OpenMP in a process, and the
# others say how threads wait for each other.
_HARMLESS = ("KMP_DUPLICATE_LIB_OK", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

# How CUDA, cuBLAS and cuDNN say that their own memory could not be allocated.
_REFUSED_ON_GPU = re.compile("CUDA error: out of memory|STATUS_ALLOC_FAILED")


def changing_variables() -> list[str]:
    """Return the names of the environment variables that are set and change the last bits of sums."""
    return sorted(name for name in os.environ if name.startswith(CHANGE_SUMS) and name not in _HARMLESS)


def set_up(compute: ComputeParams) -> None:
    """Set the number of threads, whether torch uses deterministic algorithms only, and full float32 on a GPU.

    Raises:
        UserError: the environment lets OpenMP use fewer threads. torch then computes wrong gradients for an LSTM.
    """
    limit, dynamic = (os.environ.get(name, "").strip() for name in ("OMP_THREAD_LIMIT", "OMP_DYNAMIC"))
    if compute.num_threads > 1 and (
        (limit.isdigit() and int(limit) < compute.num_threads) or dynamic.lower() == "true"
    ):
        raise UserError(
            f"OMP_THREAD_LIMIT={limit} OMP_DYNAMIC={dynamic}: torch needs {compute.num_threads} threads and may "
            "get fewer; unset these variables, or set compute.num_threads to 1"
        )
    from threadpoolctl import threadpool_limits  # finds only libraries that are loaded

    threadpool_limits(compute.num_threads)
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(compute.num_threads)
    if compute.deterministic:
        # cuBLAS needs this to be deterministic, and reads it at its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # `use_deterministic_algorithms` does the same, but first imports torch's compiler, which takes two seconds.
    torch.set_deterministic_debug_mode("error" if compute.deterministic else "default")
    # Full float32 also on a GPU, except where a recipe says otherwise: by default cuDNN uses TF32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    # This package does not read uninitialised memory, so filling it only costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False


def out_of_memory(error: BaseException) -> str | None:
    """Return one line that says what could not be allocated, or None if the error is not about exhausted memory.

    That is a `MemoryError`, torch's error on a GPU, or the `RuntimeError` of its allocator on the CPU or of a
    library on the GPU.
    """
    # Without torch there is no error of torch.
    on_gpu = getattr(sys.modules.get("torch"), "OutOfMemoryError", ())
    text = str(error).partition("\n")[0]
    if isinstance(error, on_gpu):
        text, is_free, _ = text.partition(" is free")  # the rest is about other processes and settings of torch
        text += is_free
    elif isinstance(error, RuntimeError) and not _REFUSED_ON_GPU.search(text):
        _, allocator, refused = text.partition("DefaultCPUAllocator: ")
        if not refused.startswith(("can't allocate memory", "not enough memory")):
            return None
        text = allocator + refused
    elif not isinstance(error, (MemoryError, RuntimeError)):
        return None
    return f"out of memory: {text}" if text else "out of memory"


@contextmanager
def needing_less_with(knobs: str) -> Iterator[None]:
    """Add to an error about exhausted memory which knobs of params.yaml make the block need less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            error.add_note(f"a smaller {knobs} needs less")
        raise


def gpu_error(error: BaseException) -> str | None:
    """Return one line about an error that a GPU reported, or None if it is another error.

    A GPU computes while Python goes on, so the traceback can show a later call than the one that failed.
    """
    if not isinstance(error, getattr(sys.modules.get("torch"), "AcceleratorError", ())):
        return None
    first = str(error).partition("\n")[0]
    return (
        f"{first}; the GPU reports errors late: run with CUDA_LAUNCH_BLOCKING=1 and --debug to see the failed call"
    )


def environment(device: "torch.device", precision: Precision | None = None) -> dict[str, str]:
    """Return the kind of machine: all properties that may change the last bits of a result.

    Two machines of one kind have equal entries; there is no host name, serial number or time among them.

    Args:
        device: device of the computation.
        precision: of a training; only a GPU has several, and only its entries have `precision`.
    """
    import torch

    accelerator = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
        "device": f"{device.type}{accelerator}",
        **({"precision": precision} if precision and device.type == "cuda" else {}),
    }


def differs_from_here(recorded: Mapping[str, str], device: str) -> str:
    """Return in what this machine differs from the recorded kind of machine; an empty string if in nothing.

    Args:
        recorded: what `environment` returned where a model was trained, or a part of it.
        device: the device of the model's recipe; with `cpu` no GPU is looked for.
    """
    import torch

    with_gpu = device != "cpu" and torch.cuda.is_available()
    here = environment(torch.device("cuda" if with_gpu else "cpu"))
    # The precision is not compared: the recipe chooses it, on any GPU.
    return ", ".join(f"{key} {here[key]}" for key, value in recorded.items() if here.get(key, value) != value)


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            named = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        named = []
    return named[0] if named else platform.processor()
