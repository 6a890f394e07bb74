"""Train one autoregressive model.

Reads `train_ar.<name>` of params.yaml and data/series/series.csv; writes data/models/ar/<name>/.
Run: python stages/train_ar.py NAME
"""

from pathlib import Path

from timemachine import stage
from timemachine.params import ArConfig, Params
from timemachine.progress import Progress
from timemachine.series.source import Series
from timemachine.training.autoregressive import train_autoregressive
from timemachine.training.checkpoints import save_checkpoint
from timemachine.training.devices import choose_device


def run(params: Params, name: str, series: Path, out: Path) -> None:
    """Train the model and write its checkpoint."""
    recipe = stage.entry(params.train_ar, name, "train_ar")
    x = Series.load(series).x
    with stage.about(f"train_ar.{name}"), Progress(name, recipe.num_epochs) as progress:
        model, history = train_autoregressive(
            recipe,
            x,
            choose_device(recipe.device),
            lambda e: progress.update(e.epoch, loss=e.loss, mse=e.metrics["mse"]),
        )
    rows = [{"epoch": e.epoch, "loss": e.loss, **e.metrics} for e in history]
    save_checkpoint(out / name, model, ArConfig(**recipe.model_dump(), family="ar", name=name), rows)


if __name__ == "__main__":
    stage.main(run, series="data/series/series.csv", out="data/models/ar")
