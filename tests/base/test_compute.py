"""Threads, and the environment that a stage computes in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import make_project

from timemachine.base.compute import changing_variables, set_up
from timemachine.base.config import ComputeParams


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


def test_no_library_that_a_stage_imports_sets_a_variable_that_changes_sums() -> None:
    code = (
        "import numpy, pandas, torch, matplotlib.figure, threadpoolctl; from timemachine.base.compute import *; "
    )
    subprocess.run([sys.executable, "-c", code + "assert changing_variables() == []"], check=True)
    assert changing_variables() == []
