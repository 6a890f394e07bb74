"""The load on the model server, for a second, and what it calls a fault."""

import math
import runpy
from pathlib import Path

import pytest
from graph import ROOT
from tiny import run_script

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "serving.py"


def test_a_server_under_load_answers_all_and_the_store_of_the_repository_is_left_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    run_script(project, SCRIPT, "--model", "gated", "--clients", "3", "--seconds", "1")
    heading, figures = capsys.readouterr().out.splitlines()
    assert heading == "gated, 3 clients for 1 s after 0.08 s of warm-up"
    assert " 0 errors; memory of the server " in figures
    assert not (project / "mlflow.db").exists()


def test_an_error_is_a_fault_and_so_are_memory_that_grows_and_a_server_that_is_gone() -> None:
    faults = runpy.run_path(str(SCRIPT))["faults"]
    assert faults([], 100.0, 105.0) == []
    assert faults(["500: no"], 100.0, 100.0) == ["errors: 1, the first: 500: no"]
    assert faults([], 100.0, 106.0) == ["memory grew by more than 5% from half-time to the end"]
    assert faults([], 100.0, math.nan) == ["the server is gone"]
