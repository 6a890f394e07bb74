"""DVC, as the command that anybody runs."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from timemachine.base.errors import UserError
from timemachine.pipeline import dvc


@dataclass(frozen=True)
class Pipeline:
    """The pipeline of a repository.

    Attributes:
        root: the repository root.
        lock: a file descriptor that whatever changes files keeps open.
    """

    root: Path
    lock: int

    def changed_stages(self) -> list[str]:
        """Return the stages whose code, params, inputs or outputs are not what they were at their last run.

        Raises:
            UserError: DVC cannot tell.
        """
        stages = self._read("status", "--json")
        return [name for name in json.loads(stages or "{}") if not name.endswith(".dvc")]

    def reproduce(self) -> None:
        """Run what is not up to date; what DVC says goes through.

        Raises:
            UserError: a stage failed.
        """
        self._run("repro")

    def push(self) -> bool:
        """Send data and run cache to the remote; return False if none is configured.

        Raises:
            UserError: the remote does not take them.
        """
        if not self._read("remote", "list").strip():
            return False
        self._run("push", "--run-cache")
        return True

    def _run(self, *arguments: str) -> None:
        sys.stdout.flush()
        done = dvc.run(self.root, *arguments, pass_fds=[self.lock])
        if done.returncode:
            raise UserError(f"dvc {' '.join(arguments)} failed; what it said stands above")

    def _read(self, *arguments: str) -> str:
        done = dvc.run(self.root, *arguments, capture_output=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["it did not say why"]
            errors = [line for line in said if line.startswith("ERROR")] or said
            raise UserError(f"dvc {' '.join(arguments)}: {errors[-1].removeprefix('ERROR: ')}")
        return done.stdout
