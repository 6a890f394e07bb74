"""The graph against the code."""

import ast
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from graph import FREE, PACKAGE, ROOT, imported, imports_of, room, stages
from pydantic import BaseModel

from timemachine.pipeline.lock import md5_of
from timemachine.pipeline.params import Params

STAGES = stages()
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
WITHOUT_SECTION = {"check", "download", "context_mixing_parts", "learning_curves", "report", "report_page"} | {
    name for name in STAGES if name.startswith("draw_")
}


def deps(stage: str) -> set[str]:
    return set(STAGES[stage]["deps"])


def declared_params(stage: str) -> list[str]:
    names = [name if isinstance(name, str) else next(iter(name)) for name in STAGES[stage].get("params", [])]
    return [name for name in names if name != "params.yaml"]


def test_every_stage_has_a_script_a_section_and_a_description() -> None:
    assert list(PARAMS) == [name for name in Params.model_fields if name != "download"]
    assert set(STAGES) - WITHOUT_SECTION == set(PARAMS) - {"compute", "retraining", "texts"}
    assert set(STAGES) == {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert all(stage["desc"] for stage in STAGES.values())


def code_deps(stage: str) -> set[str]:
    return {dep for dep in deps(stage) if dep.startswith(("src/", "stages/"))}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_script_and_on_exactly_the_rooms_it_imports(stage: str) -> None:
    script = ROOT / f"stages/{stage}.py"
    rooms = {room(path) for path in imported(script, FREE)}
    if stage == "publish":  # tracking/ writes what it publishes
        rooms = {"pipeline", *(room(path).split("/")[0] for path in imported(script, ("pipeline",)))}
    assert code_deps(stage) == {f"stages/{stage}.py", *(f"src/timemachine/{name}" for name in rooms)}
    assert len(code_deps(stage)) <= 8


def test_dvc_yaml_and_params_yaml_stay_short() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 300
    assert len((ROOT / "params.yaml").read_text().splitlines()) <= 260


def test_what_trains_does_not_draw() -> None:
    for stage in STAGES:
        rooms = {dep.removeprefix("src/timemachine/") for dep in code_deps(stage)}
        trains = any(name.endswith("training") for name in rooms)
        assert not (trains and "plots" in rooms) or stage in ("evaluate_forecast", "learning_curves"), stage


def test_the_lock_is_of_this_code() -> None:
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    locked = {dep["path"]: dep["md5"] for stage in lock.values() for dep in stage["deps"]}
    code = {path: md5 for path, md5 in locked.items() if path.startswith(("src/", "stages/"))}
    assert {path: md5_of(ROOT / path) for path in code} == code


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_exist_and_hold_the_stages_own_section(stage: str) -> None:
    for name in declared_params(stage):
        section: Any = PARAMS
        for part in name.removesuffix(".${key}").split("."):
            section = section[part]
    names = {name.split(".")[0] for name in declared_params(stage)}
    assert stage in names | WITHOUT_SECTION | {"publish"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_multiplies_matrices_depends_on_how_that_is_done(stage: str) -> None:
    files = [path for path in imported(ROOT / "stages" / f"{stage}.py") if path.name != "compute.py"]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    multiplies = any(
        isinstance(node, ast.MatMult)
        or (isinstance(node, ast.Attribute) and node.attr == "linalg")
        or (isinstance(node, ast.Import) and node.names[0].name == "torch")
        for node in nodes
    )
    assert stage in ("check", "publish") or multiplies == ("compute" in declared_params(stage))


def test_each_plot_and_metric_is_declared_by_one_stage_only() -> None:
    # DVC draws what is declared at top level too a second time, and lists every number of every metrics file.
    assert set(yaml.safe_load((ROOT / "dvc.yaml").read_text())) == {"stages"}
    plots = [path for stage in STAGES.values() for plot in stage.get("plots", []) for path in plot]
    assert not [path for path in plots for other in plots if path != other and path.startswith(other)]
    assert len(set(plots)) == len(plots)
    metrics = [path for stage in STAGES.values() for metric in stage.get("metrics", []) for path in metric]
    assert metrics == ["data/reports/summary.json"]


def test_every_data_dep_has_a_writer() -> None:
    written = [out for s in STAGES.values() for kind in ("outs", "metrics", "plots") for out in s.get(kind, [])]
    outs = [out if isinstance(out, str) else next(iter(out)) for out in written]
    for stage in STAGES:
        for dep in deps(stage):
            if dep.startswith("data/") and dep not in ("data/own", "data/accepted"):
                dep = dep.split("${")[0].rstrip("/")
                assert any(out == dep or out.startswith(f"{dep}/") or dep.startswith(f"{out}/") for out in outs), (
                    dep
                )


def test_every_stage_waits_for_the_check_of_the_params_and_lets_the_run_cache_work() -> None:
    for name, stage in STAGES.items():
        assert name == "check" or "data/checked.txt" in stage["deps"]
        assert name in ("check", "download", "report", "publish") or all(
            isinstance(out, str) for out in stage.get("outs", [])
        ), name


def test_every_param_is_used() -> None:
    code = "".join(p.read_text() for p in (ROOT / "src").rglob("*.py") if p.name not in ("params.py", "config.py"))
    code += "".join(p.read_text() for p in (ROOT / "stages").glob("*.py"))
    todo: list[Any] = [Params]
    while todo:
        section = todo.pop()
        if isinstance(section, type) and issubclass(section, BaseModel):
            for name, field in section.model_fields.items():
                assert re.search(rf"\b{name}\b", code), name
                todo.append(field.annotation)
        else:
            todo += getattr(section, "__args__", [])


def test_packages_run_no_code_on_import_but_the_one_that_sets_up_mlflow() -> None:
    for path in (ROOT / "src").rglob("__init__.py"):
        assert path.parent.name == "tracking" or len(path.read_text().splitlines()) == 1, path


# Each room may import those before it; the wings, and the rooms of one line, do not know each other.
LAYERS = [
    ("base",),
    ("plots", "text", "training"),
    ("language", "forecasting"),
    ("gradients",),
    ("pipeline",),
    ("provenance", "tracking"),
    ("retraining",),
    ("report",),
    ("commands",),
    ("cli",),
]


def test_imports_run_downward_only() -> None:
    floor = {name: i for i, names in enumerate(LAYERS) for name in names}
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py":
            own = room(path).split("/")[0]
            for other in {room(file).split("/")[0] for file in imports_of(path)} - {own}:
                assert floor[other] < floor[own], f"{path} imports {other}"


def test_no_room_imports_a_room_that_imports_it() -> None:
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        graph.setdefault(room(path), set()).update(room(file) for file in imports_of(path))
    for name in graph:
        seen, todo = set[str](), [name]
        while todo:
            for other in graph[todo.pop()] - seen - {name}:
                seen.add(other)
                todo.append(other)
        assert not any(name in graph[other] for other in seen), name


def test_only_tracking_imports_mlflow() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        if "tracking" not in path.parts:
            assert not re.search(r"^\s*(import|from) mlflow\b", path.read_text(), re.MULTILINE), path


def test_no_module_is_above_350_lines() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 350, path


@pytest.mark.slow
def test_the_library_imports_without_dvc_and_mlflow() -> None:
    modules = [
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for path in (ROOT / "src/timemachine").rglob("*.py")
        if not {"tracking", "retraining", "report"} & set(path.parts) and path.name != "__init__.py"
    ]
    code = "import sys; sys.modules.update(dvc=None, mlflow=None)\n" + "".join(f"import {m}\n" for m in modules)
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "module", ["cli", "pipeline.stage", "language.ngrams.report", "language.ngrams.evaluation", "retraining.round"]
)
def test_what_needs_no_torch_does_not_pay_for_it(module: str) -> None:
    code = f"import sys, timemachine.{module}; sys.exit('torch' in sys.modules or 'mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
