"""Check what a user brings, before any stage runs and DVC removes what it wrote last time.

Reads all of params.yaml, and the CSV in data/own/ that `series.csv` names; writes data/checked.txt, always the
same, so that what depends on it does not run again.
Run: python stages/check.py
"""

from pathlib import Path

from timemachine.base.errors import about
from timemachine.base.files import write_text
from timemachine.forecasting.series.own import read_csv_within
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.tracking.address import tracking_uri


def run(params: Params, out: Path) -> None:
    """Say that the params, which are checked by being here, the series, the devices and the store will do."""
    tracking_uri(stage.repository_root())
    p = params.series
    if p.csv is not None:
        own = read_csv_within("data/own", p.csv, p.time_column, p.value_column)
        with about(p.csv):
            params.check_length(len(own.x))
            own.check_unit()
    devices = {f"train_ar.{name}": recipe.device for name, recipe in params.train_ar.items()}
    devices |= {f"train_rnn.{name}": recipe.device for name, recipe in params.train_rnn.items()}
    if any(device.startswith("cuda") for device in devices.values()):
        from timemachine.training.devices import choose_device  # torch takes two seconds

        for name, device in devices.items():
            with about(name):
                choose_device(device)
    write_text(out, "what the user brings will do\n")


if __name__ == "__main__":
    stage.main(run, out="data/checked.txt")
