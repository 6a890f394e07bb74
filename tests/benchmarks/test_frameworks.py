"""One step of a recurrent network in the frameworks that are installed."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from graph import ROOT
from tiny import run_script

SCRIPT = ROOT / "benchmarks" / "frameworks.py"
frameworks = runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("name", frameworks["FRAMEWORKS"])
def test_one_product_equals_two_and_a_step_that_of_torchs_cell(name: str) -> None:
    if name not in ("numpy", "torch"):
        pytest.importorskip(name)
    inputs = frameworks["random_inputs"]()
    X, H, W_xh, W_hh, b_h = map(torch.asarray, inputs)
    cell = torch.nn.RNNCell(1, 4)
    cell.load_state_dict({"weight_ih": W_xh.T, "weight_hh": W_hh.T, "bias_ih": b_h, "bias_hh": 0 * b_h})
    results = frameworks["one_step"](name, inputs)
    for result, expected in zip(results, (X @ W_xh + H @ W_hh, X @ W_xh + H @ W_hh, cell(X, H)), strict=True):
        torch.testing.assert_close(torch.tensor(result), expected.detach(), atol=1e-5, rtol=0)


def test_the_script_names_every_framework_and_those_that_are_not_installed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script(tmp_path, SCRIPT)
    *lines, mxnet = capsys.readouterr().out.splitlines()
    for name, line in zip(frameworks["FRAMEWORKS"], lines, strict=True):
        assert line.startswith(name if find_spec(name) else f"{name} is not installed")
    assert mxnet.startswith("mxnet is retired")
