"""Tags that say where a run comes from: commit, machine, libraries and DVC experiment."""

import getpass
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from timemachine.base.compute import environment
from timemachine.pipeline.repository import git

if TYPE_CHECKING:
    import torch


# What the pipeline writes into git: it differs after every run that changes a result.
_OUTPUTS = ("data/reports", "dvc.lock")


def git_tags(folder: Path) -> dict[str, str]:
    """Return the DVC experiment of this process, the commit of a folder, and whether its files differ from it.

    What does not exist has no tag. Outputs of the pipeline that are in git do not count as changes.
    """
    commit = git(folder, "rev-parse", "HEAD")
    changes = git(folder, "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in _OUTPUTS))
    name = os.environ.get("DVC_EXP_NAME")
    experiment = {"DVC_EXP_NAME": name} if name else {}
    if commit is None or changes is None:
        return experiment
    dirty = str(bool(changes)).lower()
    return {"mlflow.source.git.commit": commit.strip(), "timemachine.git_dirty": dirty, **experiment}


def user() -> str:
    """Return the name of the user, as in MLflow's tag `mlflow.user`."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def training_tags(device: "torch.device") -> dict[str, str]:
    """Return the tags of a training: machine, threads, user, commit and experiment."""
    import torch

    return {
        **{f"timemachine.{name}": value for name, value in environment(device).items()},
        "timemachine.host": platform.node(),
        "timemachine.num_threads": str(torch.get_num_threads()),
        "mlflow.user": user(),
        **git_tags(Path.cwd()),
    }


def system_metrics(device: "torch.device") -> dict[str, float]:
    """Return the load of the machine since the last call, under MLflow's names; without psutil only of a GPU.

    The load of the CPU is 0 in the first call.
    """
    import torch

    values = {}
    with suppress(ImportError):
        import psutil

        memory = psutil.virtual_memory()
        values = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_percentage": memory.percent,
            "system/system_memory_usage_megabytes": memory.used / 1e6,
            "system/process_memory_usage_megabytes": psutil.Process().memory_info().rss / 1e6,
        }
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        index = device.index or 0
        values[f"system/gpu_{index}_memory_usage_megabytes"] = (total - free) / 1e6
        values[f"system/gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
    return values
