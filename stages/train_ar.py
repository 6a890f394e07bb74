"""Train one autoregressive model.

Reads `train_ar.<name>` of params.yaml and data/series/series.csv; writes data/models/ar/<name>/.
Run: python stages/train_ar.py NAME (without NAME, it is taken from DVC_STAGE, for example train_ar@mlp)
"""

import os
from pathlib import Path

from timemachine.base.compute import environment
from timemachine.base.errors import about
from timemachine.forecasting.models.config import ArConfig
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.training.train import history_rows, train_autoregressive
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.pipeline.paths import STATES
from timemachine.pipeline.progress import Progress
from timemachine.tracking.live import Live
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.devices import choose_device
from timemachine.training.loop import Epoch
from timemachine.training.resume import Resumable, training_hash


def run(params: Params, name: str, series: Path, out: Path) -> None:
    """Train the model and write its checkpoint."""
    recipe = stage.entry(params.train_ar, name, "train_ar")
    observed = Series.load(series)
    config = ArConfig(**recipe.model_dump(), family="ar", name=name, data_sha256=observed.sha256)
    with about(f"train_ar.{name}"):
        device = choose_device(recipe.device)
        machine, root = environment(device), stage.repository_root()
        key = training_hash(config.model_dump(), params.compute.model_dump(), machine)
        with (
            Resumable(root / STATES / key, name, recipe.num_epochs, os.environ.get("DVC_STAGE")) as resumable,
            Progress(name, recipe.num_epochs) as progress,
            Live(root, params.publish.experiment, config.model_dump(), device) as live,
        ):

            def tell(epoch: Epoch) -> None:
                if epoch.epoch > resumable.num_restored:
                    progress.update(epoch.epoch, loss=epoch.loss, mse=epoch.metrics["mse"])
                live.update(history_rows([epoch])[0])

            model, history = train_autoregressive(recipe, observed.x, device, tell, resumable)
            save_checkpoint(out / name, model, config, history_rows(history), machine)


if __name__ == "__main__":
    stage.main(run, series="data/series/series.csv", out="data/models/ar")
