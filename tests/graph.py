"""What `dvc.yaml` says, and what the code imports."""

import ast
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def module_file(name: str) -> Path | None:
    """Return the file of a project module, None for a package or somebody else's module."""
    path = ROOT / "src" / (name.replace(".", "/") + ".py")
    return path if path.is_file() else None


def imported(path: Path) -> set[Path]:
    """Return the files of the project modules that a file imports, directly or through others."""
    seen: set[Path] = set()
    todo = [path]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                file = module_file(name)
                if file is not None and file not in seen:
                    seen.add(file)
                    todo.append(file)
    return seen


def stages() -> dict[str, dict[str, Any]]:
    """Return the stages of `dvc.yaml`; those of a foreach by their name, unexpanded."""
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in graph.items()}
