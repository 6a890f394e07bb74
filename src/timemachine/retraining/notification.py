"""Run the user's command at the end of a round."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timemachine.base.errors import UserError

_TIMEOUT_S = 60.0


def parse_command(command: str) -> list[str]:
    """Split a command like a shell, without expanding anything.

    Raises:
        UserError: a quotation is not closed.
    """
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UserError(f"--notify: {error}; the command is not shown because it may contain a secret") from None


def notify(command: Sequence[str], report: Mapping[str, Any], root: Path, timeout_s: float = _TIMEOUT_S) -> None:
    """Run a command with a report as JSON on its standard input. If it fails, a warning is printed.

    Args:
        command: the command and its arguments; empty: nothing is run.
        report: the report.
        root: working directory of the command.
        timeout_s: time after which the command is stopped.
    """
    if not command:
        return
    try:
        done = subprocess.run(  # noqa: S603 - the user's command, no shell
            command, input=json.dumps(report), text=True, cwd=root, timeout=timeout_s, check=False
        )
        failure = f"exit code {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"timed out after {timeout_s:g} seconds"
    except (OSError, subprocess.SubprocessError) as error:
        failure = str(error)
    if failure:
        # The arguments are not printed: they may contain a secret, such as the address of a webhook.
        print(f"timemachine: warning: {command[0]}: {failure}", file=sys.stderr, flush=True)
