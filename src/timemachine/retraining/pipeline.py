"""DVC, as the command that anybody runs."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

# Longer than any living DVC takes to write a line.
_WRITING_S = 2.0


@dataclass(frozen=True)
class Pipeline:
    """The pipeline of a repository.

    Attributes:
        root: the repository root.
        lock: a file descriptor that whatever changes files keeps open.
    """

    root: Path
    lock: int

    def forget_the_dead(self) -> None:
        """Take away what a DVC that was killed has locked, as its own message advises.

        DVC writes into a file which process uses which paths. It passes over processes that are gone, but not
        over one that has had its number since then, a restart of the machine for example, nor over a file that
        it was about to write when it was killed.
        """
        path = self.root / ".dvc/tmp/rwlock"
        deadline_s = time.monotonic() + _WRITING_S
        while True:
            try:
                locked = json.loads(path.read_bytes())
                owners = [
                    *locked.get("write", {}).values(),
                    *(owner for readers in locked.get("read", {}).values() for owner in readers),
                ]
                if any(_is_dvc(int(owner["pid"])) for owner in owners):
                    return
                break
            except FileNotFoundError:
                return
            except (ValueError, KeyError, TypeError, AttributeError):
                if time.monotonic() > deadline_s:
                    break
                time.sleep(0.1)
        path.unlink(missing_ok=True)

    def changed_stages(self) -> list[str]:
        """Return the stages whose code, params, inputs or outputs are not what they were at their last run.

        Raises:
            ValueError: DVC cannot tell.
        """
        stages = self._read("status", "--json")
        return [name for name in json.loads(stages or "{}") if not name.endswith(".dvc")]

    def reproduce(self) -> None:
        """Run what is not up to date; what DVC says goes through.

        Raises:
            ValueError: a stage failed.
        """
        self._run("repro")

    def push(self) -> bool:
        """Send data and run cache to the remote; return False if none is configured.

        Raises:
            ValueError: the remote does not take them.
        """
        if not self._read("remote", "list").strip():
            return False
        self._run("push", "--run-cache")
        return True

    def _run(self, *arguments: str) -> None:
        sys.stdout.flush()
        done = subprocess.run(  # noqa: S603 - DVC with words of ours, no shell
            self._command(*arguments), cwd=self.root, env=_environment(), check=False, pass_fds=[self.lock]
        )
        if done.returncode:
            raise ValueError(f"dvc {' '.join(arguments)} failed; what it said stands above")

    def _read(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - DVC with words of ours, no shell
            self._command(*arguments),
            cwd=self.root,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()] or ["it did not say why"]
            errors = [line for line in said if line.startswith("ERROR")] or said
            raise ValueError(f"dvc {' '.join(arguments)}: {errors[-1].removeprefix('ERROR: ')}")
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    """Return an environment in which `python`, as stages call it, is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def _is_dvc(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and any("dvc" in word for word in process.cmdline())
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False
