"""A repository of its own, in which DVC runs a tiny pipeline."""

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
        lines = done.stdout.splitlines()
        return [line.split("'")[1] for line in lines if line.startswith("Running stage")]
