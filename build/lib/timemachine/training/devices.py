"""Which device a recipe trains on."""

import torch

from timemachine.base.errors import UserError


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU where there is one.

    Raises:
        UserError: this machine does not have that device.
    """
    num_gpus = torch.cuda.device_count()
    allowed = ["auto", "cpu", *(["cuda"] if num_gpus else []), *(f"cuda:{i}" for i in range(num_gpus))]
    if name == "auto":
        return torch.device("cuda" if num_gpus else "cpu")
    if name not in allowed:
        raise UserError(f"device {name!r} is not available; choose {', '.join(allowed[:-1])} or {allowed[-1]}")
    return torch.device(name)
