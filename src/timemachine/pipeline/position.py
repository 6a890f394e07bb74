"""Where a stage stands in the pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from timemachine.base.config import read_yaml
from timemachine.base.errors import UserError

if TYPE_CHECKING:
    from timemachine.pipeline.params import Params


def position(name: str, params: "Params", path: Path) -> tuple[int, int] | None:
    """Return the number of a stage in `dvc.yaml`, from 1 on, and the number of all stages.

    Each stage of `dvc.yaml` stands after those that it depends on, so this is the order in which DVC runs the
    whole pipeline. Stages that DVC skips because they have not changed are counted too: the number then jumps
    ahead, and still says how much of the pipeline can follow. If DVC is given a target, it may run independent
    stages in another order.

    Args:
        name: of the stage, for example `train_rnn@lstm`.
        params: what the lists of the stages of a `foreach` are taken from.
        path: of `dvc.yaml`.

    Returns:
        The two numbers. None if the file has no such stage, cannot be read, or has a `matrix` or an expression
        other than the key of a section: then the number of stages is not known.
    """
    try:
        content = read_yaml(path)
    except UserError:  # for example, because it is being edited
        return None
    stages = content.get("stages") if isinstance(content, dict) else None
    names: list[str] = []
    for stage, body in stages.items() if isinstance(stages, dict) else ():
        keys = _keys(body, params)
        if keys is None:
            return None
        names += [f"{stage}@{key}" for key in keys] if "foreach" in body else [stage]
    return (names.index(name) + 1, len(names)) if name in names else None


def _keys(body: Any, params: "Params") -> list[Any] | None:
    """Return the keys of a stage of a `foreach`, an empty list for another stage, None if they are not known."""
    if not isinstance(body, dict) or "matrix" in body:
        return None
    over = body.get("foreach", [])
    if isinstance(over, str):
        path, over = over.removeprefix("${").removesuffix("}").split("."), params.model_dump()
        for part in path:
            over = over.get(part) if isinstance(over, dict) else None
    return list(over) if isinstance(over, dict | list) else None
