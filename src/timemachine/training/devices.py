"""Which device a recipe computes on, and in which precision."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from timemachine.base.config import Precision
from timemachine.base.errors import UserError


def choose_device(name: str, local_rank: int = 0, num_local: int = 1) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU where there is one.

    Args:
        name: of the device.
        local_rank: number of this process among those of a training on this machine. Each takes a GPU of its own.
        num_local: how many these are.

    Raises:
        UserError: this machine does not have that device, or has fewer GPUs than processes.
    """
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    allowed = ["auto", "cpu", *(["cuda"] if num_gpus else []), *(f"cuda:{i}" for i in range(num_gpus))]
    if name == "auto":
        name = "cuda" if num_gpus else "cpu"
    if name not in allowed:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}"
        raise UserError(
            f"device {name!r} is not available; choose {', '.join(allowed[:-1])} or {allowed[-1]}{hint}"
        )
    if name == "cpu" or num_local == 1:
        return torch.device(name)
    if name != "cuda":
        raise UserError(f"device {name!r} is one GPU, and {num_local} processes need one each; choose cuda or cpu")
    if num_gpus < num_local:
        raise UserError(
            f"{num_local} processes need a GPU each, and this machine has {num_gpus}; start fewer, or choose cpu"
        )
    return torch.device("cuda", local_rank)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's parameters; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute the products of float32 matrices on a GPU in a precision; the CPU computes in float32.

    Weights and sums stay in float32.

    Args:
        precision: `float32`; `tf32`, which reads 10 bits of each fraction; or `bfloat16`, which reads 7, by
            autocast.
        device: where the block computes.
    """
    if device.type != "cuda":
        yield
        return
    backends: tuple[Any, Any] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = precision == "tf32"
        # A cache would keep the bfloat16 weights of the first minibatch.
        with torch.autocast("cuda", torch.bfloat16, precision == "bfloat16", cache_enabled=False):
            yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def lowered(tensor: Tensor) -> Tensor:
    """Return a tensor in the precision of autocast if that is on, for operations that it does not convert."""
    kind = tensor.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return tensor.to(torch.get_autocast_dtype(kind))
    return tensor
