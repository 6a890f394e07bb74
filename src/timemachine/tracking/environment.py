"""Where and from what a run came: commit, machine, libraries, the names that DVC gives."""

import getpass
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timemachine.base.compute import environment

if TYPE_CHECKING:
    import torch


def git_tags(folder: Path) -> dict[str, str]:
    """Return the commit that a folder stands at, where there is one, and whether files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - git, no shell
        return done.stdout.strip()

    try:
        commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"mlflow.source.git.commit": commit, "timemachine.git_dirty": str(bool(changes)).lower()}


def experiment_tags() -> dict[str, str]:
    """Return the name of the DVC experiment that this process is part of, if it is."""
    name = os.environ.get("DVC_EXP_NAME")
    return {"DVC_EXP_NAME": name} if name else {}


def user() -> str:
    """Return who runs this: MLflow's own tag has the same name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def training_tags(device: "torch.device") -> dict[str, str]:
    """Return what a training runs on."""
    import torch

    return {
        **{f"timemachine.{name}": value for name, value in environment(device).items()},
        "timemachine.host": platform.node(),
        "timemachine.num_threads": str(torch.get_num_threads()),
        "mlflow.user": user(),
        **git_tags(Path.cwd()),
        **experiment_tags(),
    }


class SystemMetrics:
    """Load of the machine, under the names that MLflow's page has a tab for; nothing where psutil is missing."""

    def __init__(self, device: "torch.device") -> None:
        self._device = device
        self._process: Any = None
        with suppress(ImportError):
            import psutil

            self._process = psutil.Process()
            psutil.cpu_percent()  # the first answer is no answer

    def sample(self) -> dict[str, float]:
        """Return the load since the last sample."""
        import torch

        values = {}
        if self._process:
            import psutil

            memory = psutil.virtual_memory()
            values = {
                "system/cpu_utilization_percentage": psutil.cpu_percent(),
                "system/system_memory_usage_percentage": memory.percent,
                "system/system_memory_usage_megabytes": memory.used / 1e6,
                "system/process_memory_usage_megabytes": self._process.memory_info().rss / 1e6,
            }
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            index = self._device.index or 0
            values[f"system/gpu_{index}_memory_usage_megabytes"] = (total - free) / 1e6
            values[f"system/gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
        return values
