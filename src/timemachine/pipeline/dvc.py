"""DVC, as the command that anybody runs, by this Python."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from timemachine.pipeline import params
from timemachine.pipeline.repair import check_space, repair


def command(*arguments: str) -> list[str]:
    """Return the command that runs DVC with these arguments."""
    return [sys.executable, "-m", "dvc", *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which `python`, as stages call it, is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run DVC in a folder and wait for it; options are those of `subprocess.run`."""
    usual: dict[str, Any] = {"env": environment(), "check": False, "text": True}
    return subprocess.run(command(*arguments), cwd=folder, **(usual | options))  # noqa: S603 - no shell


def prepare(root: Path, say: Callable[[str], object]) -> None:
    """Do what comes before every `dvc repro`: repair the repository, check the disk and the params.

    DVC reads params.yaml before any stage can check it, and some files make it run without end.

    Args:
        root: the repository root.
        say: as of `repair`.

    Raises:
        UserError: the repository cannot be repaired, the disk is full, or params.yaml is wrong.
    """
    repair(root, say)
    check_space(root)
    params.load(os.path.relpath(root / "params.yaml"))


def repro(root: Path, arguments: Sequence[str], say: Callable[[str], object]) -> NoReturn:
    """Repair a repository, check its params, and replace this process by `dvc repro`.

    Args:
        root: the repository root.
        arguments: those of `dvc repro`.
        say: as of `repair`.

    Raises:
        UserError: the repository cannot be repaired, the disk is full, or params.yaml is wrong.
    """
    prepare(root, say)
    os.execve(sys.executable, command("repro", *arguments), environment())  # noqa: S606 - no shell is meant
