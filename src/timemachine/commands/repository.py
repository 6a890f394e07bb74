"""What several commands read of the repository."""

from pathlib import Path

from timemachine.base.config import ComputeParams, read_yaml, validate
from timemachine.pipeline import stage


def experiment() -> tuple[Path, str]:
    """Return the repository root and the MLflow experiment of its params.yaml."""
    from timemachine.pipeline import params

    root = stage.repository_root()
    return root, params.load(root / "params.yaml").publish.experiment


def use_threads_of(root: Path) -> None:
    """Compute with the threads of the section `compute`, or with one thread where there is no such section.

    Call it after the imports of a command: it limits the libraries that are loaded by then.
    """
    from timemachine.base import compute

    path = root / "params.yaml"
    content = read_yaml(path) if path.is_file() else None
    section = content.get("compute") if isinstance(content, dict) else None
    section = {"num_threads": 1} if section is None else section
    compute.set_up(validate(ComputeParams, section, f"{path}: compute"))
