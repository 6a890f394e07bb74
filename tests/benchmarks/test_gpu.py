"""The benchmark of a GPU, run on the CPU: without DVC and MLflow, as on a machine that has only torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from graph import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu.py"
WITHOUT_DVC_AND_MLFLOW = f"""
import runpy, sys
sys.modules.update(dvc=None, mlflow=None)
sys.path.insert(0, {str(SCRIPT.parent)!r})
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


@pytest.mark.slow
def test_it_compares_losses_speed_and_texts_and_writes_them(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    options = [
        "--device",
        "cpu",
        "--quick",
        "--out",
        str(out),
        "--parts",
        "machine",
        "losses",
        "speed",
        "generation",
    ]
    command = [sys.executable, "-c", WITHOUT_DVC_AND_MLFLOW, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert results["machine"]["environment"]["device"] == "cpu"
    for recipe in ("e1_scratch_sequential", "lstm"):
        assert results["losses"][recipe]["largest_difference"] == {"cpu": 0.0, "float32": 0.0}
    assert set(results["speed"]["e1_scratch_sequential"]) == {"book", "operations", "graph, float32"}
    assert all(side["tokens_per_s"] > 0 for side in results["speed"]["lstm"].values())
    assert results["generation"]["sampled"]["same_rows"] == 1
