"""The pipeline of a repository, run by DVC's command line."""

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
        lock: file descriptor that is passed to the DVC processes that change files.
    """

    root: Path
    lock: int

    def changed_stages(self) -> list[str]:
        """Return the stages whose code, params, inputs or outputs changed since their last run.

        Raises:
            UserError: `dvc status` fails.
        """
        stages = self._read("status", "--json")
        return [name for name in json.loads(stages or "{}") if not name.endswith(".dvc")]

    def reproduce(self) -> None:
        """Run the stages that are not up to date; the output of DVC is passed through.

        Raises:
            UserError: a stage failed.
        """
        self._run("repro")

    def push(self) -> bool:
        """Push data and run cache to the remote; return False if no remote is configured.

        Raises:
            UserError: the push fails.
        """
        if not self._read("remote", "list").strip():
            return False
        self._run("push", "--run-cache")
        return True

    def _run(self, *arguments: str) -> None:
        sys.stdout.flush()
        done = dvc.run(self.root, *arguments, pass_fds=[self.lock])
        if done.returncode:
            raise UserError(f"dvc {' '.join(arguments)} failed; its messages are above")

    def _read(self, *arguments: str) -> str:
        done = dvc.run(self.root, *arguments, capture_output=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["it failed without a message"]
            errors = [line for line in said if line.startswith("ERROR")] or said
            raise UserError(f"dvc {' '.join(arguments)}: {errors[-1].removeprefix('ERROR: ')}")
        return done.stdout
