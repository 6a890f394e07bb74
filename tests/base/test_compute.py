"""Threads, and the environment that a stage computes in."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from graph import ROOT
from tiny import make_project

from timemachine.base.compute import CHANGE_SUMS, changing_variables, needing_less_with, out_of_memory, set_up
from timemachine.base.config import ComputeParams
from timemachine.pipeline import stage


@pytest.mark.parametrize(("name", "value"), [("OMP_THREAD_LIMIT", "1"), ("OMP_DYNAMIC", "TRUE")])
def test_threads_that_openmp_may_take_away_are_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match=f"{name}={value}.*unset these variables, or set compute.num_threads to 1"
    ):
        set_up(ComputeParams(num_threads=2, deterministic=True))
    set_up(ComputeParams(num_threads=1, deterministic=True))


REFUSED = "CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has 8.00 GiB of which 1.00 GiB is free"


def on_gpu() -> None:
    with needing_less_with("batch_size"):
        raise torch.OutOfMemoryError(f"{REFUSED}. Including non-PyTorch memory, this process has 7.00 GiB")


def in_cublas() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")


@pytest.mark.parametrize(
    ("allocate", "text"),
    [
        (lambda: torch.empty(10**15), "out of memory: DefaultCPUAllocator: can't allocate memory: you tried to"),
        (lambda: np.empty(10**15), "out of memory: Unable to allocate"),
        (lambda: bytearray(10**15), "out of memory"),
        (on_gpu, f"out of memory: {REFUSED}; a smaller batch_size needs less"),
        (in_cublas, "out of memory: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    ],
    ids=["torch", "numpy", "python", "gpu", "cublas"],
)
def test_exhausted_memory_is_one_line_that_says_how_much_was_wanted(
    allocate: Callable[[], object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["stage.py"])
    with pytest.raises(SystemExit) as ended, stage.one_line_errors("stage"):
        allocate()
    assert str(ended.value).startswith(f"stage: error: {text}")
    assert "\n" not in str(ended.value)


def test_an_error_of_a_gpu_is_one_line_that_says_it_may_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stage.py"])
    late = r"CUDA error: device-side assert triggered; .*CUDA_LAUNCH_BLOCKING=1 and --debug"
    with pytest.raises(SystemExit, match=late), stage.one_line_errors("stage"):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered\nMore lines")


def test_the_tests_run_without_the_variables_that_change_sums() -> None:
    found = re.search(r"^_CHANGE_RESULTS = (.+)$", (ROOT / "tests/conftest.py").read_text(), re.MULTILINE)
    assert found
    assert set(CHANGE_SUMS) <= set(ast.literal_eval(found[1]))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("pin_memory of a tensor on a GPU"),
        KeyError("memory"),
    ],
)
def test_no_other_error_is_called_out_of_memory(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stage.py"])
    assert out_of_memory(error) is None
    with pytest.raises(type(error)), stage.one_line_errors("stage"):
        raise error


STAGE = """
import json, os, sys
from pathlib import Path
import numpy as np
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params

def run(params: Params, name: str, out: Path) -> None:
    X = np.random.default_rng(0).standard_normal((300, 200))
    out.write_bytes((X.T @ X).tobytes())
    print(json.dumps([name, sys.flags.utf8_mode, sorted(os.environ)]))

if __name__ == "__main__":
    stage.main(run, out="result")
"""


@pytest.mark.slow
def test_a_stage_computes_the_same_bytes_whatever_variables_change_sums(tmp_path: Path) -> None:
    make_project(tmp_path)
    (tmp_path / "work.py").write_text(STAGE)
    outcomes = []
    for changing in (
        {},
        {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "7"},
        {"OPENBLAS_CORETYPE": "Prescott"},
    ):
        done = subprocess.run(
            [sys.executable, "-X", "utf8", "work.py", "lstm"],
            cwd=tmp_path,
            env={**os.environ, "KEPT": "1", **changing},
            check=True,
            capture_output=True,
            text=True,
        )
        outcomes.append((tmp_path / "result").read_bytes())
        assert done.stdout.startswith('["lstm", 1, ')  # the same arguments, to Python too
        assert '"KEPT"' in done.stdout
        assert not any(name in done.stdout for name in changing)
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.slow
def test_no_library_that_a_stage_imports_sets_a_variable_that_changes_sums() -> None:
    code = (
        "import numpy, pandas, torch, matplotlib.figure, threadpoolctl; from timemachine.base.compute import *; "
    )
    subprocess.run([sys.executable, "-c", code + "assert changing_variables() == []"], check=True)
    assert changing_variables() == []
