"""What the last bits of a result depend on beside params and data: threads, algorithms, and the kind of machine.

Sums in floating point depend on how they are shared out among threads, so the number of threads is a param and not
a property of the machine. torch is only touched by stages that have imported it.
"""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from timemachine.base.config import ComputeParams
from timemachine.base.errors import UserError

if TYPE_CHECKING:
    import torch


def set_up(compute: ComputeParams) -> None:
    """Compute with as many threads as the params say, and by deterministic algorithms if they say so.

    Raises:
        UserError: OpenMP may give fewer threads than that, by which torch trains an LSTM on wrong gradients.
    """
    limit, dynamic = (os.environ.get(name, "").strip() for name in ("OMP_THREAD_LIMIT", "OMP_DYNAMIC"))
    if compute.num_threads > 1 and (
        (limit.isdigit() and int(limit) < compute.num_threads) or dynamic.lower() == "true"
    ):
        raise UserError(
            f"OMP_THREAD_LIMIT={limit} OMP_DYNAMIC={dynamic}: they take away threads that torch counts on; unset "
            "them, or set compute.num_threads to 1"
        )
    from threadpoolctl import threadpool_limits  # searches all loaded libraries, so they come first

    threadpool_limits(compute.num_threads)
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(compute.num_threads)
    if compute.deterministic:
        # What cuBLAS needs to be deterministic; it reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(compute.deterministic)
    # Nothing here reads memory that it has not written, so that filling it first is only time.
    torch.utils.deterministic.fill_uninitialized_memory = False


def environment(device: "torch.device") -> dict[str, str]:
    """Return the kind of machine, by what may change the last bits of a result on it.

    Two machines of one kind have the same: it holds no name, number or time of this very machine.
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
    return ", ".join(f"{key} {here.get(key)}" for key, value in recorded.items() if here.get(key) != value)


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            named = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        named = []
    return named[0] if named else platform.processor()
