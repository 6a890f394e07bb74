"""What `dvc.yaml` says, and what the code imports."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/timemachine"
# Rooms that change no byte of a result, so that a stage does not depend on them.
FREE = ("pipeline", "tracking")


@cache
def imports_of(path: Path) -> frozenset[Path]:
    """Return the files of the project modules that a file imports itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        files = (ROOT / "src" / (name.replace(".", "/") + ".py") for name in names)
        found |= {file for file in files if file.is_file()}
    return frozenset(found)


def imported(path: Path, free: tuple[str, ...] = ()) -> set[Path]:
    """Return the files that a file imports, directly or through others, but not by way of free rooms."""
    seen: set[Path] = set()
    todo = [path]
    while todo:
        for file in imports_of(todo.pop()) - seen:
            if room(file).split("/")[0] not in free:
                seen.add(file)
                todo.append(file)
    return seen


def room(path: Path) -> str:
    """Return the package that a module lies in, `language/models` for example; a module of its own is its name."""
    inside = path.relative_to(PACKAGE)
    return inside.parent.as_posix() if inside.parent.parts else inside.stem


def stages() -> dict[str, dict[str, Any]]:
    """Return the stages of `dvc.yaml`; those of a foreach by their name, unexpanded."""
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in graph.items()}
