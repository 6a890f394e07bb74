"""Run DVC's command line with this Python interpreter."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

from timemachine.base.errors import UserError
from timemachine.pipeline import params
from timemachine.pipeline.owned import remove_unowned
from timemachine.pipeline.processes import end
from timemachine.pipeline.repair import repair

_DVC = (sys.executable, "-m", "dvc")
# A few times what DVC needs for its own notes; less than that and a run would fail soon in any case.
_MIN_FREE_BYTES = 100_000_000


def child_environment() -> dict[str, str]:
    """Return the environment for DVC, in which the command `python` of a stage is this interpreter."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(
    folder: Path, *arguments: str, capture_output: bool = False, timeout_s: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run DVC in a folder and wait for it. It ends, with its stages, if this process is interrupted or ends.

    Args:
        folder: the working directory.
        *arguments: those of DVC.
        capture_output: whether to return what DVC prints.
        timeout_s: time after which DVC and its stages are ended.
        **options: options of `subprocess.Popen`.

    Raises:
        subprocess.TimeoutExpired: DVC did not end in time.
    """
    pipe = subprocess.PIPE if capture_output else None
    options = {"env": child_environment(), "stdout": pipe, "stderr": pipe, "text": True, **options}
    sys.stdout.flush()
    command = [*_DVC, *arguments]
    with subprocess.Popen(command, cwd=folder, preexec_fn=_end_with_parent, **options) as process:  # noqa: S603
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            with suppress(psutil.NoSuchProcess):
                running = psutil.Process(process.pid)
                end([running, *running.children(recursive=True)])
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent ends, even by SIGKILL."""
    if sys.platform == "linux":
        set_signal_of_parents_death = 1
        ctypes.CDLL(None).prctl(set_signal_of_parents_death, signal.SIGTERM)


def prepare(root: Path, say: Callable[[str], object]) -> None:
    """Repair the repository, check the disk and the params, and remove outputs that params.yaml no longer owns.

    This precedes every `dvc repro`: DVC reads params.yaml before any stage can check it, and never ends on some
    files; and after a change of the branch in git the outputs of another branch may be left.

    Args:
        root: the repository root.
        say: as of `repair`.

    Raises:
        UserError: the repository cannot be repaired, the disk is full, or params.yaml is wrong.
    """
    is_idle = repair(root, say)
    # Of the repository and of DVC's folder of hashes.
    for folder in (root, Path(os.environ.get("DVC_SITE_CACHE_DIR", "/var/tmp"))):  # noqa: S108 - DVC's default
        if folder.exists() and (free := shutil.disk_usage(folder).free) < _MIN_FREE_BYTES:
            needed = f"a run needs {_MIN_FREE_BYTES / 1e6:.0f} MB"
            raise UserError(f"{folder}: {free / 1e6:.0f} MB free on this disk; {needed}")
    checked = params.load(os.path.relpath(root / "params.yaml"))
    if is_idle:
        for path in remove_unowned(checked, root / "data"):
            say(f"removed {path.relative_to(root)}, whose entry is not in params.yaml")


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
    os.execve(sys.executable, [*_DVC, "repro", *arguments], child_environment())  # noqa: S606 - no shell is meant
