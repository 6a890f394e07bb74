"""A pipeline of two quick stages."""

from pathlib import Path

from tiny import git

ENVIRONMENT = "data/results/environment.json"
# MACHINE simulates another machine, NOISE a result that is not reproducible.
SCRIPT = """
import json, os, pathlib
noise, machine = float(os.environ.get("NOISE", 0)), os.environ.get("MACHINE", "here")
for name, content in {
    "results/a.json": {"rmse": 0.2 + noise, "n": 3},
    "results/environment.json": {"lstm": {"processor": machine}},
    "folder/b.json": [noise],
}.items():
    path = pathlib.Path("data", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
"""
GRAPH = {
    "stages": {
        "check": {"cmd": "mkdir -p data && echo ok > data/checked.txt", "outs": ["data/checked.txt"]},
        "work": {
            "cmd": "python work.py",
            "deps": ["data/checked.txt", "work.py"],
            "params": ["series.seed"],
            "outs": ["data/folder"],
            "metrics": [{"data/results/a.json": {"cache": False}}, {ENVIRONMENT: {"cache": False}}],
        },
    }
}


def commit(root: Path, message: str) -> None:
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", message)
