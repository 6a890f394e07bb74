"""Tell somebody how a round ended."""

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
    """Split a command as a shell would; nothing in it is expanded.

    Raises:
        UserError: a quotation is not closed.
    """
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UserError(f"--notify: {error}; the command is not shown, as it may hold a secret") from None


def notify(command: Sequence[str], report: Mapping[str, Any], root: Path, timeout_s: float = _TIMEOUT_S) -> None:
    """Call a command with a report as JSON on its standard input; whatever it does is at most a warning.

    Args:
        command: and its arguments; empty: nothing is called.
        report: what is told.
        root: where it runs.
        timeout_s: after which it is stopped.
    """
    if not command:
        return
    try:
        done = subprocess.run(  # noqa: S603 - what the user asked for, no shell
            command, input=json.dumps(report), text=True, cwd=root, timeout=timeout_s, check=False
        )
        failure = f"exit code {done.returncode}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"timed out after {timeout_s:g} seconds"
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        failure = str(error)
    if failure:
        # Its arguments may hold a secret, such as the address of a webhook.
        print(f"timemachine: warning: {command[0]}: {failure}", file=sys.stderr, flush=True)
