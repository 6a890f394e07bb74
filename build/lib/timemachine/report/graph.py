"""The graph of stages, drawn by topological layers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timemachine.base.config import read_yaml
from timemachine.base.errors import UserError
from timemachine.report.sources import look_up

_WIDTH, _HEIGHT, _GAP, _LAYER = 152, 30, 10, 74  # pixels: a node, between nodes, from layer to layer
_NUM_SWEEPS = 8
# The room that tells the wing of a stage; the first that a stage depends on counts.
_WINGS = {
    "report": "all",
    "tracking": "all",
    "gradients": "gradients",
    "forecasting": "forecasting",
    "language": "language",
    "text": "language",
}


def draw_graph(path: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the places of the stages of `dvc.yaml` and of the lines between them.

    A stage is below all stages that it depends on. Lines that follow from others are left out.

    Args:
        path: of `dvc.yaml`.
        params: the content of params.yaml, which say how many stages a `foreach` stands for.

    Returns:
        `width` and `height` in pixels; `nodes` with `x`, `y`, `name`, `desc`, `count` and `wing`; `edges` as
        paths of SVG.

    Raises:
        UserError: the file is not YAML, or has no stages.
    """
    stages = look_up(read_yaml(path), "stages")
    if not (stages and isinstance(stages, dict) and all(isinstance(stage, dict) for stage in stages.values())):
        raise UserError(f"{path}: 'stages' is not a mapping from names to stages")
    bodies = {name: stage.get("do", stage) for name, stage in stages.items()}
    outs = {
        name: [out for kind in ("outs", "metrics", "plots") for out in _paths(body, kind)]
        for name, body in bodies.items()
    }
    before = {
        name: {
            other
            for other in bodies
            if other != name and any(_overlap(dep, out) for dep in _paths(body, "deps") for out in outs[other])
        }
        for name, body in bodies.items()
    }
    above = {name: _ancestors(name, before) for name in before}
    edges = {
        name: [other for other in sorted(direct) if not any(other in above[third] for third in direct)]
        for name, direct in before.items()
    }
    layers = _layers(above, edges)
    wings = _wings(bodies, edges)
    width = max(len(layer) for layer in layers) * (_WIDTH + _GAP)
    place = {
        name: (
            round((width - len(layer) * (_WIDTH + _GAP)) / 2 + i * (_WIDTH + _GAP) + _GAP / 2),
            row * _LAYER + 4,
        )
        for row, layer in enumerate(layers)
        for i, name in enumerate(layer)
    }
    nodes = [
        {
            "x": place[name][0],
            "y": place[name][1],
            "name": name,
            "desc": bodies[name].get("desc", ""),
            "count": _count(stages[name].get("foreach"), params),
            "wing": wings[name],
        }
        for layer in layers
        for name in layer
    ]
    lines = [_line(place[other], place[name]) for name, others in edges.items() for other in others]
    return {
        "width": width,
        "height": (len(layers) - 1) * _LAYER + _HEIGHT + 8,
        "node_width": _WIDTH,
        "node_height": _HEIGHT,
        "nodes": nodes,
        "edges": lines,
    }


def _paths(body: Mapping[str, Any], kind: str) -> list[str]:
    """Return the paths of a stage up to the first part that params.yaml fills in."""
    entries = (entry if isinstance(entry, str) else next(iter(entry)) for entry in body.get(kind, []))
    return [entry.partition("${")[0].rstrip("/") for entry in entries]


def _overlap(dep: str, out: str) -> bool:
    return dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/")


def _ancestors(name: str, before: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(before[name])
    while todo:
        if (other := todo.pop()) not in found:
            found.add(other)
            todo += before[other]
    return found


def _layers(above: Mapping[str, set[str]], edges: Mapping[str, list[str]]) -> list[list[str]]:
    """Return the names by the length of the longest path to them; neighbours in a layer have near ancestors."""
    depth: dict[str, int] = {}
    for name in sorted(above, key=lambda name: len(above[name])):
        depth[name] = max((depth[other] + 1 for other in edges[name]), default=0)
    layers = [[name for name in above if depth[name] == level] for level in range(max(depth.values()) + 1)]
    below: dict[str, list[str]] = {name: [] for name in above}
    for name, others in edges.items():
        for other in others:
            below[other].append(name)
    for sweep in range(_NUM_SWEEPS):
        order = layers if sweep % 2 == 0 else layers[::-1]
        neighbours = edges if sweep % 2 == 0 else below
        place = {name: i - len(layer) / 2 for layer in layers for i, name in enumerate(layer)}
        for layer in order:
            mean = {
                name: sum(place[other] for other in neighbours[name]) / len(neighbours[name])
                if neighbours[name]
                else place[name]
                for name in layer
            }
            layer.sort(key=lambda name: (mean[name], name))
            place |= {name: i - len(layer) / 2 for i, name in enumerate(layer)}
    return layers


def _count(foreach: Any, params: Mapping[str, Any]) -> int:
    """Return the number of stages that a `foreach` stands for; 1 without one."""
    if isinstance(foreach, str):
        foreach = look_up(params, *foreach.removeprefix("${").removesuffix("}").split("."))
    return 1 if foreach is None else len(foreach)


def _wings(bodies: Mapping[str, Any], edges: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the wing of each stage: that of its rooms, or else of the stages it depends on, if they have one."""
    wings: dict[str, str] = {}

    def wing(name: str) -> str:
        if name not in wings:
            rooms = {
                dep.removeprefix("src/timemachine/").partition("/")[0] for dep in _paths(bodies[name], "deps")
            }
            own = next((wing for room, wing in _WINGS.items() if room in rooms), None)
            others = {wing(other) for other in edges[name]} if own is None else {own}
            everything = any(
                isinstance(entry, dict) for entry in bodies[name].get("params", [])
            )  # all of params.yaml
            wings[name] = others.pop() if len(others) == 1 and not everything else "all"
        return wings[name]

    return {name: wing(name) for name in bodies}


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1, x2, y2 = start[0] + _WIDTH // 2, start[1] + _HEIGHT, end[0] + _WIDTH // 2, end[1]
    return f"M{x1} {y1}C{x1} {(y1 + y2) // 2} {x2} {(y1 + y2) // 2} {x2} {y2}"
