"""A repository of its own, in which DVC runs a tiny pipeline."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from graph import ROOT
from tiny import git, make_project, write_params

from timemachine.pipeline import dvc


class Repository:
    """A clone of this project with tiny params, and DVC to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = git(
            ROOT,
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "src",
            "stages",
            "data/own",
            "data/accepted",
            "data/inbox",
            ".dvc/config",
            ".dvcignore",
            ".gitignore",
        )
        for name in [*tracked.split(), "dvc.yaml"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        make_project(folder)
        git(folder, "init", "--quiet")
        git(folder, "config", "user.name", "t")  # without a name DVC makes no experiment in a folder of its own
        git(folder, "config", "user.email", "t@example.org")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", "tiny")

    def environment(self) -> dict[str, str]:
        return dvc.child_environment() | {"PYTHONPATH": str(self.folder / "src")}

    def dvc(self, *arguments: str) -> str:
        done = dvc.run(self.folder, *arguments, env=self.environment(), capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def adopt(self, finished: Path) -> list[str]:
        """Have DVC take the outputs of a finished pipeline of the same params, and return the stages that ran.

        DVC runs its whole graph, but the command `python` copies what DVC has removed. Only publish computes.
        """
        commands = self.folder.parent / "commands"
        commands.mkdir()
        python = commands / "python"
        python.write_text(
            "#!/bin/sh\n"
            f"if [ $1 = stages/publish.py ]; then exec {sys.executable} $1; else cp -ru {finished}/data .; fi\n"
        )
        python.chmod(0o755)
        path = os.pathsep.join([str(commands), os.environ["PATH"]])
        done = dvc.run(self.folder, "repro", env=self.environment() | {"PATH": path}, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        git(self.folder, "add", ".")
        git(self.folder, "commit", "--quiet", "--message", "finished")
        return stages_run(done.stdout)

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        content = yaml.safe_load((self.folder / "params.yaml").read_text())
        change(content)
        write_params(self.folder, content)

    def repro(self) -> list[str]:
        """Run the pipeline and return the stages that ran."""
        command = [sys.executable, "-m", "timemachine.cli", "repro"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return stages_run(done.stdout)


def stages_run(said: str) -> list[str]:
    """Return the stages that DVC says it runs."""
    return re.findall(r"^Running stage '(.+?)'", said, re.MULTILINE)
