"""What a stage computes with."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from timemachine.base.compute import out_of_memory, set_up
from timemachine.base.config import ComputeParams
from timemachine.pipeline import stage


@pytest.mark.parametrize(("name", "value"), [("OMP_THREAD_LIMIT", "1"), ("OMP_DYNAMIC", "TRUE")])
def test_threads_that_openmp_may_take_away_are_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}={value}.*unset them, or set compute.num_threads to 1"):
        set_up(ComputeParams(num_threads=2, deterministic=True))
    set_up(ComputeParams(num_threads=1, deterministic=True))


def on_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nMore lines")


@pytest.mark.parametrize(
    ("allocate", "text"),
    [
        (lambda: torch.empty(10**15), "out of memory: DefaultCPUAllocator: can't allocate memory: you tried to"),
        (lambda: np.empty(10**15), "out of memory: Unable to allocate"),
        (lambda: bytearray(10**15), "out of memory"),
        (on_gpu, "out of memory: CUDA out of memory. Tried to allocate 9.00 GiB."),
    ],
    ids=["torch", "numpy", "python", "gpu"],
)
def test_exhausted_memory_is_one_line_that_says_how_much_was_wanted(
    allocate: Callable[[], object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["stage.py"])
    with pytest.raises(SystemExit) as ended, stage.one_line_errors("stage"):
        allocate()
    assert str(ended.value).startswith(f"stage: error: {text}")
    assert "\n" not in str(ended.value)


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
