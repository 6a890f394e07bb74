"""Train one autoregressive model.

Reads `train_ar.<name>` of params.yaml and data/series/series.csv; writes data/models/ar/<name>/.
Run: python stages/train_ar.py NAME (without NAME, it is taken from DVC_STAGE, for example train_ar@mlp)
"""

from pathlib import Path

from timemachine.base.compute import environment, needing_less_with
from timemachine.base.errors import about
from timemachine.forecasting.models.config import ArConfig
from timemachine.forecasting.series.source import Series
from timemachine.forecasting.training.train import history_rows, train_autoregressive
from timemachine.pipeline import stage
from timemachine.pipeline.params import Params
from timemachine.tracking.followed import follow
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.devices import choose_device


def run(params: Params, name: str, series: Path, out: Path) -> None:
    """Train the model and write its checkpoint."""
    recipe = stage.entry(params.train_ar, name, "train_ar")
    observed = Series.load(series)
    config = ArConfig(**recipe.model_dump(), family="ar", name=name, data_sha256=observed.sha256)
    with about(f"train_ar.{name}"), needing_less_with(f"batch_size or num_hiddens of train_ar.{name}"):
        device = choose_device(recipe.device)
        with follow(params, config.model_dump(), device, history_rows, ("loss", "mse")) as (tell, resumable):
            model, history = train_autoregressive(recipe, observed.x, device, tell, resumable)
            machine = environment(device, recipe.precision)
            save_checkpoint(out / name, model, config, history_rows(history), machine)


if __name__ == "__main__":
    stage.main(run, series="data/series/series.csv", out="data/models/ar")
