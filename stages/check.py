"""Check the inputs before any stage runs, because DVC removes the outputs of a stage before it runs.

Reads all of params.yaml, and the CSV in data/own/ that `series.csv` names; removes the outputs of entries that
params.yaml no longer has; writes data/checked.txt, which is always the same, so that no later stage runs again.
Run: python stages/check.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_text
from timemachine.forecasting.series.own import read_own_series
from timemachine.pipeline import stage
from timemachine.pipeline.owned import remove_unowned
from timemachine.pipeline.params import Params
from timemachine.tracking.address import tracking_uri


def run(params: Params, data: Path, out: Path) -> None:
    """Check the address of the store, the series and the devices; the params were checked when they were read."""
    tracking_uri(stage.repository_root())
    p = params.series
    if p.csv is not None:
        own = read_own_series(data / "own", p)
        with about(p.csv):
            params.check_length(len(own.x))
            own.check_unit()
    devices = {f"train_ar.{name}": recipe.device for name, recipe in params.train_ar.items()}
    devices |= {f"train_rnn.{name}": recipe.device for name, recipe in params.train_rnn.items()}
    if any(device.startswith("cuda") for device in devices.values()):
        from timemachine.training.devices import choose_device  # importing torch takes two seconds

        for name, device in devices.items():
            with about(name):
                choose_device(device)
    for path in remove_unowned(params, data):
        print(f"removed {path}: params.yaml has no such entry")
    write_text(out, "inputs checked\n")


if __name__ == "__main__":
    stage.main(run, data="data", out="data/checked.txt")
