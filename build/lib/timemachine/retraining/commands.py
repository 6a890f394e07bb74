"""The commands that a round runs: DVC, and the user's command at the end."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc
from timemachine.retraining.busy import check_no_dvc

# Time after which the user's command is stopped.
_TIMEOUT_S = 60.0


def run_dvc(root: Path, max_hours: float, *arguments: str, lock: int | None = None) -> str:
    """Run DVC and return what it prints.

    Args:
        root: the repository root.
        max_hours: time after which DVC is ended.
        *arguments: those of DVC.
        lock: file descriptor of the lock, for a command that changes files. What it prints is then passed through.

    Raises:
        BusyError: DVC failed while another DVC was running in the repository.
        UserError: DVC failed, or did not end in time.
    """
    what, quiet = f"dvc {' '.join(arguments)}", lock is None
    kept, limit = [] if lock is None else [lock], f"{max_hours:g} hours (retraining.max_hours)"
    try:
        done = dvc.run(root, *arguments, capture_output=quiet, timeout_s=max_hours * 3600, pass_fds=kept)
    except subprocess.TimeoutExpired:
        raise UserError(f"{what} did not end within {limit} and was ended") from None
    if done.returncode == 0:
        return done.stdout or ""
    check_no_dvc(root)  # one that started in the meantime blocks this one
    if not quiet:
        raise UserError(f"{what} failed; its messages are above")
    said = [line for line in done.stderr.splitlines() if line.strip()] or ["it failed without a message"]
    errors = [line for line in said if line.startswith("ERROR")] or said
    raise UserError(f"{what}: {errors[-1].removeprefix('ERROR: ')}")


def notify(command: Sequence[str], report: Mapping[str, Any], root: Path) -> None:
    """Run a command with a report as JSON on its standard input. If it fails, a warning is printed.

    Args:
        command: the command and its arguments; empty: nothing is run.
        report: the report.
        root: working directory of the command.
    """
    if not command:
        return
    try:
        done = subprocess.run(  # noqa: S603 - the user's command, no shell
            command, input=json.dumps(report), text=True, cwd=root, timeout=_TIMEOUT_S, check=False
        )
        failure = f"exit code {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"timed out after {_TIMEOUT_S:g} seconds"
    except (OSError, subprocess.SubprocessError) as error:
        failure = str(error)
    if failure:
        # The arguments are not printed: they may contain a secret, such as the address of a webhook.
        print(f"timemachine: warning: {command[0]}: {failure}", file=sys.stderr, flush=True)
